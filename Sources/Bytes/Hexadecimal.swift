/// Hexadecimal digits, lower case.
public enum Hexadecimal {
    /// Eight digits in the order of the bytes, the lowest byte first, all made at once: what `Buffer.append(word:)`
    /// writes.
    @inlinable
    public static func digits(of value: UInt32) -> UInt64 {
        // One digit in each byte, the highest of the value in the lowest.
        var digits = UInt64(value.byteSwapped)
        digits = (digits | digits &<< 16) & 0x0000_FFFF_0000_FFFF
        digits = (digits | digits &<< 8) & 0x00FF_00FF_00FF_00FF
        digits = (digits &>> 4) & 0x000F_000F_000F_000F | (digits & 0x000F_000F_000F_000F) &<< 8
        // Ten and more: the letters stand 39 behind where the digits would go on.
        let letters = ((digits &+ 0x0606_0606_0606_0606) &>> 4) & 0x0101_0101_0101_0101
        return digits &+ 0x3030_3030_3030_3030 &+ letters &* 39
    }

    /// The number that the bytes of a range spell, at most sixteen; nil where one is no digit, or an upper-case one.
    public static func number(_ bytes: Span<UInt8>, _ range: Range<Int>) -> UInt64? {
        precondition(range.count <= 16)
        var number: UInt64 = 0
        for index in range {
            let byte = bytes[index]
            switch byte {
            case 0x30...0x39: number = number &<< 4 | UInt64(byte &- 0x30)
            case 0x61...0x66: number = number &<< 4 | UInt64(byte &- 0x57)
            default: return nil
            }
        }
        return number
    }
}

extension Buffer {
    /// Adds sixteen hexadecimal digits; false where they do not fit.
    public mutating func append(hexadecimal value: UInt64) -> Bool {
        guard room >= 16 else { return false }
        return append(word: Hexadecimal.digits(of: UInt32(truncatingIfNeeded: value &>> 32)))
            && append(word: Hexadecimal.digits(of: UInt32(truncatingIfNeeded: value)))
    }
}
