package rayjobs;

import java.util.Properties;
import org.apache.spark.SparkContext;
import org.apache.spark.sql.SparkSession;

/** Marks the Spark work of the calling thread as a job's, by one call: each costs the job a part of a millisecond. */
public final class JobMarks {
    private final SparkContext context;
    private final SparkSession session;
    private final Properties unmarked;

    public JobMarks(SparkContext context, SparkSession session) {
        this.context = context;
        this.session = session;
        unmarked = (Properties) context.getLocalProperties().clone();
        unmarked.setProperty("spark.job.interruptOnCancel", "true");
    }

    /** What an earlier job of this thread has set of such properties, and its active session, are forgotten. */
    public void begin(String tag, String description) {
        Properties properties = (Properties) unmarked.clone();
        properties.setProperty("spark.job.tags", tag);
        properties.setProperty("rayjobs.job.begun", Long.toString(System.nanoTime()));
        properties.setProperty("spark.job.description", description);
        context.setLocalProperties(properties);
        SparkSession.setActiveSession(session);
    }
}
