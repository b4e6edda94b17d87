package rayjobs;

import java.nio.ByteBuffer;
import java.util.Map;
import java.util.Properties;
import java.util.concurrent.ConcurrentHashMap;
import org.apache.spark.SparkEnv;
import org.apache.spark.scheduler.TaskResultGetter;
import org.apache.spark.scheduler.TaskSchedulerImpl;
import org.apache.spark.scheduler.TaskSetManager;
import scala.Enumeration;

/** Reads the results of tasks, in threads of their own for each jar: a thread finds classes by one loader for good. */
public final class JarResults extends TaskResultGetter {
    private final SparkEnv environment;
    private final TaskSchedulerImpl scheduler;
    private final String property;
    private final Map loaders = new ConcurrentHashMap();
    private final Map readers = new ConcurrentHashMap();

    /** The local property of that name says of which jar a Spark job is. */
    public JarResults(SparkEnv environment, TaskSchedulerImpl scheduler, String property) {
        super(environment, scheduler);
        this.environment = environment;
        this.scheduler = scheduler;
        this.property = property;
    }

    /** Does no harm twice. */
    public synchronized void add(String jar, ClassLoader loader) {
        if (!readers.containsKey(jar)) {
            loaders.put(jar, loader);
            readers.put(jar, new TaskResultGetter(environment, scheduler));
        }
    }

    public void enqueueSuccessfulTask(TaskSetManager tasks, long id, ByteBuffer result) {
        String jar = jarOf(tasks);
        if (jar == null) {
            super.enqueueSuccessfulTask(tasks, id, result);
            return;
        }
        ClassLoader before = enter(jar);
        try {
            ((TaskResultGetter) readers.get(jar)).enqueueSuccessfulTask(tasks, id, result);
        } finally {
            Thread.currentThread().setContextClassLoader(before);
        }
    }

    public void enqueueFailedTask(TaskSetManager tasks, long id, Enumeration.Value state, ByteBuffer reason) {
        String jar = jarOf(tasks);
        if (jar == null) {
            super.enqueueFailedTask(tasks, id, state, reason);
            return;
        }
        ClassLoader before = enter(jar);
        try {
            ((TaskResultGetter) readers.get(jar)).enqueueFailedTask(tasks, id, state, reason);
        } finally {
            Thread.currentThread().setContextClassLoader(before);
        }
    }

    public void stop() {
        for (Object reader : readers.values()) {
            ((TaskResultGetter) reader).stop();
        }
        super.stop();
    }

    private String jarOf(TaskSetManager tasks) {
        Properties properties = tasks.taskSet().properties();
        String jar = properties == null ? null : properties.getProperty(property);
        return jar == null || !readers.containsKey(jar) ? null : jar;
    }

    /** A thread that is started now inherits the jar's loader. */
    private ClassLoader enter(String jar) {
        ClassLoader before = Thread.currentThread().getContextClassLoader();
        Thread.currentThread().setContextClassLoader((ClassLoader) loaders.get(jar));
        return before;
    }
}
