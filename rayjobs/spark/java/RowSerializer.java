package rayjobs;

import com.fasterxml.jackson.core.JsonGenerator;
import com.fasterxml.jackson.databind.JsonSerializer;
import com.fasterxml.jackson.databind.SerializerProvider;
import java.io.IOException;
import org.apache.spark.sql.Row;

/** A row as an object of its columns, or as an array if its columns have no names. */
public final class RowSerializer extends JsonSerializer {
    public void serialize(Object value, JsonGenerator out, SerializerProvider provider) throws IOException {
        Row row = (Row) value;
        String[] names = row.schema() == null ? null : row.schema().fieldNames();
        if (names == null) {
            out.writeStartArray();
        } else {
            out.writeStartObject();
        }
        for (int i = 0; i < row.length(); i++) {
            if (names != null) {
                out.writeFieldName(names[i]);
            }
            provider.defaultSerializeValue(row.get(i), out);
        }
        if (names == null) {
            out.writeEndArray();
        } else {
            out.writeEndObject();
        }
    }
}
