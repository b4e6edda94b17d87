"""Jobs to learn from: `words.WordCount`, `pi.Pi`, `sql.Query`."""
