/// The date format that HTTP writes (IMF-fixdate, RFC 9110 §5.6.7).
public enum HTTPDate {
    /// The 29 bytes of `Sun, 06 Nov 1994 08:49:37 GMT`. `seconds` since 1970, UTC; it must lie in the years 1970 to
    /// 9999. Worth keeping for a second.
    public static func format(_ seconds: Int64) -> InlineArray<29, UInt8> {
        precondition(seconds >= 0 && seconds < 253_402_300_800)
        let days = Int(seconds / 86_400)
        let time = Int(seconds % 86_400)
        let date = civil(days)
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

    /// Year, month and day of a day since 1970, in the proleptic Gregorian calendar, by counting in eras of 400 years
    /// that start on 1 March.
    private static func civil(_ days: Int) -> (year: Int, month: Int, day: Int) {
        let shifted = days + 719_468
        let era = shifted / 146_097
        let dayOfEra = shifted % 146_097
        let yearOfEra = (dayOfEra - dayOfEra / 1460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
        let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
        let marchMonth = (5 * dayOfYear + 2) / 153
        let day = dayOfYear - (153 * marchMonth + 2) / 5 + 1
        let month = marchMonth < 10 ? marchMonth + 3 : marchMonth - 9
        return (yearOfEra + era * 400 + (month <= 2 ? 1 : 0), month, day)
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
