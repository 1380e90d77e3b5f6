internal import Bytes

/// The date format that HTTP writes (IMF-fixdate, RFC 9110 §5.6.7).
public enum HTTPDate {
    /// The 29 bytes of `Sun, 06 Nov 1994 08:49:37 GMT`. `seconds` since 1970, UTC; it must lie in the years 1970 to
    /// 9999. Worth keeping for a second.
    public static func format(_ seconds: Int64) -> InlineArray<29, UInt8> {
        precondition(seconds >= 0 && seconds < 253_402_300_800)
        let days = Int(seconds / 86_400)
        let time = Int(seconds % 86_400)
        let date = CivilDate(daysSince1970: days)
        var text = InlineArray<29, UInt8>(repeating: 0x20)
        // 1 January 1970 was a Thursday.
        put("ThuFriSatSunMonTueWed", days % 7, &text, 0)
        text[3] = 0x2C
        digits(date.day, &text, 5)
        put("JanFebMarAprMayJunJulAugSepOctNovDec", date.month - 1, &text, 8)
        digits(date.year / 100, &text, 12)
        digits(date.year % 100, &text, 14)
        digits(time / 3600, &text, 17)
        digits(time / 60 % 60, &text, 20)
        digits(time % 60, &text, 23)
        text[19] = 0x3A
        text[22] = 0x3A
        put("GMT", 0, &text, 26)
        return text
    }

    /// The second since 1970 of a date in that one format; nil for anything else. It allocates.
    public static func seconds(_ text: String) -> Int64? {
        let words = text.split(separator: " ")
        let months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]
        guard words.count == 6, let day = Int(words[1]), let month = months.firstIndex(of: String(words[2])),
            let year = Int(words[3]), (1970...9999).contains(year)
        else { return nil }
        let clock = words[4].split(separator: ":").compactMap { Int64($0) }
        // Key servers say this too, at whatever length they like.
        guard clock.count == 3, (0..<24).contains(clock[0]), (0..<60).contains(clock[1]),
            (0...60).contains(clock[2]), (1...31).contains(day)
        else { return nil }
        let days = CivilDate(year: year, month: month + 1, day: day).daysSince1970
        return Int64(days) * 86_400 + clock[0] * 3600 + clock[1] * 60 + clock[2]
    }

    private static func put(
        _ names: String, _ index: Int, _ text: inout InlineArray<29, UInt8>, _ offset: Int
    ) {
        let letters = names.utf8
        var position = letters.index(letters.startIndex, offsetBy: index * 3)
        for place in offset..<offset + 3 {
            text[place] = letters[position]
            position = letters.index(after: position)
        }
    }

    private static func digits(_ value: Int, _ text: inout InlineArray<29, UInt8>, _ offset: Int) {
        text[offset] = 0x30 + UInt8(value / 10)
        text[offset + 1] = 0x30 + UInt8(value % 10)
    }
}
