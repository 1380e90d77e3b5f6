public import Bytes

/// Formats wall-clock times as RFC 3339 in UTC with milliseconds: `2026-01-31T23:59:59.123Z`.
///
/// The calendar is worked out once a second; within a second only the last three digits change.
public struct TimestampFormatter: ~Copyable {
    // 24 bytes of text, always well-formed; holds the second `cached`.
    private var text: InlineArray<24, UInt8>
    private var cached: Int64 = .min

    /// The largest time there is text for, in seconds since 1970: the end of the year 9999.
    private static var lastSecond: Int64 { 253_402_300_799 }

    /// A formatter that has cached nothing yet.
    public init() {
        text = InlineArray(repeating: 0x30)
        text[4] = 0x2d
        text[7] = 0x2d
        text[10] = 0x54
        text[13] = 0x3a
        text[16] = 0x3a
        text[19] = 0x2e
        text[23] = 0x5a
    }

    /// Appends the time, given in milliseconds since 1970-01-01 UTC; times outside 1970...9999 are moved into it.
    public mutating func append(milliseconds: Int64, to buffer: inout Buffer) {
        let time = min(max(0, milliseconds), Self.lastSecond * 1000 + 999)
        let second = time / 1000
        if second != cached { format(second: second) }
        put(Int(time % 1000), digits: 3, at: 20)
        _ = buffer.append(text.span)
    }

    private mutating func format(second: Int64) {
        let date = CivilDate(daysSince1970: Int(second / 86_400))
        let time = Int(second % 86_400)
        put(date.year, digits: 4, at: 0)
        put(date.month, digits: 2, at: 5)
        put(date.day, digits: 2, at: 8)
        put(time / 3600, digits: 2, at: 11)
        put(time / 60 % 60, digits: 2, at: 14)
        put(time % 60, digits: 2, at: 17)
        cached = second
    }

    private mutating func put(_ value: Int, digits: Int, at start: Int) {
        var rest = value
        for index in (start..<start + digits).reversed() {
            text[index] = 0x30 + UInt8(truncatingIfNeeded: rest % 10)
            rest /= 10
        }
    }
}

extension TimestampFormatter {
    /// The time as text, for the control side: it allocates.
    public static func text(milliseconds: Int64) -> String {
        JSONText.collect(room: 24) { buffer in
            var formatter = TimestampFormatter()
            formatter.append(milliseconds: milliseconds, to: &buffer)
        }
    }
}
