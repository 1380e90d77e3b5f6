import Config
import Logging
import Reactor
import Telemetry

/// The application log of a running proxy: a logger, and the thread behind it that may wait for the terminal or pipe.
struct LogSetup {
    private let writer: LogWriter

    /// A log on the standard error. The thread is started at once, so the signal mask must be set already; throws
    /// where the system has no descriptor or thread left.
    init() throws(StartFailure) {
        let writer: LogWriter
        do throws(Errno) {
            writer = try LogWriter(destination: .standardError)
            try Thread(name: "usher-messages") { try? writer.run() }.detach()
        } catch {
            throw StartFailure(error)
        }
        self.writer = writer
    }

    /// Says why the proxy cannot start, where there may be no descriptor and no thread left to say it with.
    static func say(_ failure: StartFailure, _ configuration: LogConfiguration) {
        let format = ApplicationLog.Format(configuration.format)
        let log = Logger(label: "usher") { _ in
            ApplicationLog(format: format, level: .critical) { line in
                _ = OutputFile.standardError.write(line.span)
            }
        }
        log.critical("cannot start", metadata: ["reason": "\(failure.reason)"])
    }

    /// What to log with, as the configuration wants it.
    func logger(for configuration: LogConfiguration) -> Logger {
        let format = ApplicationLog.Format(configuration.format)
        let level = Logger.Level(configuration.level)
        return Logger(label: "usher") { [writer] _ in
            ApplicationLog(format: format, level: level) { line in _ = writer.submit(line.span) }
        }
    }

    /// Writes what is left, for at most one second.
    func finish() {
        writer.stop()
        _ = writer.waitUntilStopped(milliseconds: 1000)
    }
}

extension ApplicationLog.Format {
    /// The configured form, or text on a terminal and JSON elsewhere.
    init(_ configured: LogFormat?) {
        switch configured {
        case .json: self = .json
        case .text: self = .text
        case nil: self = OutputFile.standardError.isTerminal ? .text : .json
        }
    }
}

extension Logger.Level {
    /// The level of that name.
    init(_ level: LogLevel) {
        switch level {
        case .trace: self = .trace
        case .debug: self = .debug
        case .info: self = .info
        case .notice: self = .notice
        case .warning: self = .warning
        case .error: self = .error
        case .critical: self = .critical
        }
    }
}

extension LogDestination {
    /// The configured destination of the access log.
    init(_ access: AccessLogDestination) {
        switch access {
        case .off: self = .off
        case .standardOutput: self = .standardOutput
        case .file(let path): self = .file(path)
        }
    }

    /// Why the access log cannot be written there.
    func failure(_ error: Errno) -> StartFailure {
        let reason = StartFailure.words(error)
        guard case .file(let path) = self else {
            return StartFailure("cannot open the access log: \(reason)")
        }
        return StartFailure("cannot open the access log \"\(path)\": \(reason)")
    }
}
