package rayjobs;

import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Properties;
import org.apache.spark.SparkContext;
import org.apache.spark.scheduler.SparkListener;
import org.apache.spark.scheduler.SparkListenerJobStart;

/**
 * Ends the Spark work of jobs that have ended themselves, and what they begin only later: a call of a dead process,
 * which plans for seconds in this JVM, has Spark work to cancel only after it.
 */
public final class EndedJobs extends SparkListener {
    /** As `JobMarks` sets it: `System.nanoTime()` when the job, or this run of it, began. */
    private static final String JOB_BEGUN = "rayjobs.job.begun";

    /** Older ends are forgotten: no call is under way for so long. */
    private static final int KEPT = 10000;

    private static EndedJobs listener;

    private final SparkContext context;
    private final Map ends = new LinkedHashMap();

    private EndedJobs(SparkContext context) {
        this.context = context;
    }

    /** The first call has the JVM's application listened to. What the job does when it runs again is not ended. */
    public static synchronized void end(SparkContext context, String tag) {
        if (listener == null) {
            listener = new EndedJobs(context);
            context.addSparkListener(listener);
        }
        listener.note(tag);
        context.cancelJobsWithTag(tag);
    }

    public void onJobStart(SparkListenerJobStart started) {
        Properties properties = started.properties();
        String tags = properties == null ? null : properties.getProperty("spark.job.tags");
        String begun = properties == null ? null : properties.getProperty(JOB_BEGUN);
        if (tags == null || begun == null) {
            return;
        }
        for (String tag : tags.split(",")) {
            if (hasEndedSince(tag, Long.parseLong(begun))) {
                context.cancelJob(started.jobId());
                return;
            }
        }
    }

    private synchronized void note(String tag) {
        ends.remove(tag);
        ends.put(tag, Long.valueOf(System.nanoTime()));
        if (ends.size() > KEPT) {
            ends.remove(ends.keySet().iterator().next());
        }
    }

    private synchronized boolean hasEndedSince(String tag, long begun) {
        Long end = (Long) ends.get(tag);
        return end != null && end.longValue() - begun > 0;
    }
}
