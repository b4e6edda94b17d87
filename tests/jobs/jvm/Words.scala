package words

object Words { def greet(name: String): String = s"GREETING $name" }
