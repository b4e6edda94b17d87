package rayjobs;

import java.io.FileOutputStream;
import java.io.IOException;
import java.io.OutputStream;
import java.io.PrintStream;

/** What a job's thread, and the threads that it starts, print: added to the job's log, and passed on as before. */
public final class JobOutput extends OutputStream {
    private static final InheritableThreadLocal LOG = new InheritableThreadLocal();
    private static boolean installed = false;

    private final PrintStream before;

    private JobOutput(PrintStream before) {
        this.before = before;
    }

    /** From now on this thread's prints go to the end of that file. */
    public static void begin(String path) throws IOException {
        install();
        LOG.set(new FileOutputStream(path, true));
        scala.Console$.MODULE$.setOutDirect(System.out);
        scala.Console$.MODULE$.setErrDirect(System.err);
    }

    public static void end() throws IOException {
        OutputStream log = (OutputStream) LOG.get();
        LOG.remove();
        log.close();
    }

    private static synchronized void install() {
        if (!installed) {
            System.setOut(new PrintStream(new JobOutput(System.out), true));
            System.setErr(new PrintStream(new JobOutput(System.err), true));
            installed = true;
        }
    }

    public void write(int oneByte) {
        write(new byte[] {(byte) oneByte}, 0, 1);
    }

    public void write(byte[] bytes, int offset, int length) {
        OutputStream log = (OutputStream) LOG.get();
        if (log != null) {
            try {
                log.write(bytes, offset, length);
            } catch (IOException closed) {
                before.println("a job is over, and one of its threads still prints");
            }
        }
        before.write(bytes, offset, length);
    }

    public void flush() {
        before.flush();
    }
}
