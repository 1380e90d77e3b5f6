internal import Bytes

/// Moments as JavaScript and its databases write them (RFC 3339 §5.6).
enum ISODate {
    /// The Unix second of `2026-01-31T22:40:00.000Z`, a fraction cut off; nil for anything else.
    static func seconds(_ text: Span<UInt8>) -> Int64? {
        guard text.count >= 20, text.count <= 40, let year = number(text, 0, 4),
            text[4] == UInt8(ascii: "-"), let month = number(text, 5, 2), (1...12).contains(month),
            text[7] == UInt8(ascii: "-"), let day = number(text, 8, 2), (1...31).contains(day),
            text[10] == UInt8(ascii: "T") || text[10] == UInt8(ascii: " "),
            let hour = number(text, 11, 2), hour < 24, text[13] == UInt8(ascii: ":"),
            let minute = number(text, 14, 2), minute < 60, text[16] == UInt8(ascii: ":"),
            let second = number(text, 17, 2), second <= 60, let zone = zone(text)
        else { return nil }
        let date = CivilDate(year: Int(year), month: Int(month), day: Int(day))
        return Int64(date.daysSince1970) * 86_400 + hour * 3600 + minute * 60 + second - zone
    }

    /// What follows the seconds: a fraction, and `Z` or an offset, in seconds.
    private static func zone(_ text: Span<UInt8>) -> Int64? {
        var index = 19
        if text[index] == UInt8(ascii: ".") {
            index += 1
            let first = index
            while index < text.count, ASCII.isDigit(text[index]) { index += 1 }
            guard index > first else { return nil }
        }
        guard index < text.count else { return nil }
        if text[index] | 0x20 == UInt8(ascii: "z") { return index + 1 == text.count ? 0 : nil }
        let sign: Int64 = text[index] == UInt8(ascii: "-") ? -1 : 1
        guard sign < 0 || text[index] == UInt8(ascii: "+"), text.count == index + 6,
            let hours = number(text, index + 1, 2), hours < 24, text[index + 3] == UInt8(ascii: ":"),
            let minutes = number(text, index + 4, 2), minutes < 60
        else { return nil }
        return sign * (hours * 3600 + minutes * 60)
    }

    private static func number(_ text: Span<UInt8>, _ start: Int, _ count: Int) -> Int64? {
        var value: Int64 = 0
        for index in start..<start + count {
            guard ASCII.isDigit(text[index]) else { return nil }
            value = value * 10 + Int64(text[index] - 0x30)
        }
        return value
    }
}
