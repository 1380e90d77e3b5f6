internal import Glibc

/// Input, output and error of the process, descriptors 0 to 2.
public enum StandardStreams {
    /// Opens `/dev/null` for each that the process was started without: otherwise the next sockets that are opened get
    /// their numbers, and lines of the log go there. To be called before anything else is opened.
    public static func openMissing() {
        for number: Int32 in 0...2 where fcntl(number, F_GETFD) < 0 {
            // The lowest number that is free is this one.
            // SAFETY: a constant path, and no further argument.
            _ = unsafe open("/dev/null", O_RDWR)
        }
    }
}
