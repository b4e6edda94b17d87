package rayjobs;

import java.util.Properties;
import org.apache.spark.SparkContext;
import org.apache.spark.scheduler.SparkListener;
import org.apache.spark.scheduler.SparkListenerJobStart;

/**
 * Ends the Spark work of jobs that have ended themselves, and what they begin only later: a call of a dead process,
 * which plans for seconds in this JVM, has Spark work to cancel only after it.
 */
public final class EndedJobs extends SparkListener {
    /** With a job's tag behind it, a system property: so `JobMarks` knows it, too. */
    private static final String ENDED = "rayjobs.ended.";

    private static EndedJobs listener;

    private final SparkContext context;

    private EndedJobs(SparkContext context) {
        this.context = context;
    }

    /** The first call has the JVM's application listened to. */
    public static synchronized void end(SparkContext context, String tag) {
        if (listener == null) {
            listener = new EndedJobs(context);
            context.addSparkListener(listener);
        }
        System.setProperty(ENDED + tag, "true");
        context.cancelJobsWithTag(tag);
    }

    public void onJobStart(SparkListenerJobStart begun) {
        Properties properties = begun.properties();
        String tags = properties == null ? null : properties.getProperty("spark.job.tags");
        if (tags == null) {
            return;
        }
        for (String tag : tags.split(",")) {
            if (System.getProperty(ENDED + tag) != null) {
                context.cancelJob(begun.jobId());
                return;
            }
        }
    }
}
