public import Logging
import Reactor
import Telemetry

/// The application log: what the proxy itself has to say, one line each, as JSON or as text.
public struct ApplicationLog: LogHandler {
    /// The form of a line.
    public enum Format: Sendable {
        /// One JSON object a line.
        case json
        /// `time level message key=value …`, for eyes.
        case text
    }

    private let format: Format
    private let write: @Sendable ([UInt8]) -> Void
    /// Metadata that every line carries.
    public var metadata: Logger.Metadata = [:]
    /// The least level that is written.
    public var logLevel: Logger.Level

    /// A log that gives each finished line, with its line feed, to `write`.
    public init(format: Format, level: Logger.Level, write: @escaping @Sendable ([UInt8]) -> Void) {
        self.format = format
        self.write = write
        logLevel = level
    }

    /// One entry of the metadata that every line carries.
    public subscript(metadataKey key: String) -> Logger.Metadata.Value? {
        get { metadata[key] }
        set { metadata[key] = newValue }
    }

    /// Writes a line.
    public func log(event: LogEvent) {
        var all = metadata
        if let own = event.metadata { all.merge(own) { _, new in new } }
        if let error = event.error { all["error"] = "\(error)" }
        let time = TimestampFormatter.text(milliseconds: wallClockMicroseconds() / 1000)
        let line = ApplicationLog.line(
            format, time: time, level: event.level, message: event.message.description, metadata: all)
        write(Array(line.utf8))
    }

    /// The line for an entry; one line whatever the message holds.
    static func line(
        _ format: Format, time: String, level: Logger.Level, message: String, metadata: Logger.Metadata
    ) -> String {
        let entries = metadata.sorted { $0.key < $1.key }
        switch format {
        case .json:
            let fixed =
                "{\"time\":\"\(time)\",\"level\":\"\(level.rawValue)\",\"message\":\(JSONText.quoted(message))"
            return entries.reduce(into: fixed) { line, entry in
                // A second member of the same name would make the object ambiguous.
                let name = reserved.contains(entry.key) ? "metadata_" + entry.key : entry.key
                line += ",\(JSONText.quoted(name)):\(json(entry.value))"
            } + "}\n"
        case .text:
            let padding = String(repeating: " ", count: max(0, 8 - level.rawValue.utf8.count))
            let fixed = "\(time) \(level.rawValue)\(padding) \(plain(message, isWord: false))"
            return entries.reduce(into: fixed) { line, entry in
                line += " \(plain(entry.key, isWord: true))=\(text(entry.value))"
            } + "\n"
        }
    }

    private static let reserved: Set<String> = ["time", "level", "message"]

    private static func json(_ value: Logger.MetadataValue) -> String {
        switch value {
        case .string(let text): JSONText.quoted(text)
        case .stringConvertible(let number as Int): String(number)
        case .stringConvertible(let truth as Bool): truth ? "true" : "false"
        case .stringConvertible(let other): JSONText.quoted(other.description)
        case .array(let values): "[" + values.map(json).joined(separator: ",") + "]"
        case .dictionary(let members):
            "{"
                + members.sorted { $0.key < $1.key }.map { "\(JSONText.quoted($0.key)):\(json($0.value))" }
                .joined(separator: ",") + "}"
        }
    }

    private static func text(_ value: Logger.MetadataValue) -> String {
        switch value {
        case .string(let text): plain(text, isWord: true)
        case .stringConvertible(let other): plain(other.description, isWord: true)
        case .array, .dictionary: json(value)
        }
    }

    /// The text as it is where it is harmless, else in quotes with escapes: a message must not forge a line, nor
    /// steer a terminal.
    private static func plain(_ text: String, isWord: Bool) -> String {
        let isHarmless = text.unicodeScalars.allSatisfy { scalar in
            scalar.value >= 0x20 && !(0x7f...0x9f).contains(scalar.value)
                && !(isWord && (scalar == " " || scalar == "\"" || scalar == "="))
        }
        return isHarmless && !(isWord && text.isEmpty) ? text : JSONText.quoted(text)
    }
}
