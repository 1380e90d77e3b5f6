internal import Bytes
internal import HTTP

/// The text of the Date field (RFC 9110 §6.6.1), made once a second.
struct DateField {
    private var seconds: Int64 = -1
    private var text = InlineArray<29, UInt8>(repeating: 32)

    /// Adds the whole field line; false where it does not fit.
    func append(to buffer: inout Buffer) -> Bool {
        buffer.append("Date: ") && buffer.append(text.span) && buffer.append("\r\n")
    }

    /// Sets the time, in seconds since 1970; a clock before that year counts as its start.
    mutating func update(seconds now: Int64) {
        guard now != seconds else { return }
        seconds = now
        text = HTTPDate.format(max(0, now))
    }
}
