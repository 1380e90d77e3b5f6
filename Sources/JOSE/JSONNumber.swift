/// Numbers of JSON (RFC 8259 §6).
enum JSONNumber {
    /// The index behind the number that starts at `index`, or nil where the grammar is not kept.
    static func scan(_ text: borrowing MutableSpan<UInt8>, _ start: Int, _ end: Int) -> Int? {
        var index = start
        if index < end, text[index] == 0x2d { index &+= 1 }
        guard index < end, isDigit(text[index]) else { return nil }
        if text[index] == 0x30 { index &+= 1 } else { index = digits(text, index, end) }
        if index < end, text[index] == 0x2e {
            let fraction = digits(text, index &+ 1, end)
            guard fraction > index &+ 1 else { return nil }
            index = fraction
        }
        if index < end, text[index] | 0x20 == 0x65 {
            var exponent = index &+ 1
            if exponent < end, text[exponent] == 0x2b || text[exponent] == 0x2d { exponent &+= 1 }
            index = digits(text, exponent, end)
            guard index > exponent else { return nil }
        }
        return index
    }

    /// The largest second that a token may name, either way: year 31 million, far from any overflow.
    static let largestSecond: Int64 = 999_999_999_999_999

    /// A NumericDate (RFC 7519 §2) in Unix seconds, a fraction rounded up, or down; nil beyond ±`largestSecond`, however
    /// it is written (rule J12). `number` is a number by the grammar.
    static func seconds(_ number: Span<UInt8>, roundingUp: Bool = true) -> Int64? {
        let isNegative = number[0] == 0x2d
        // The decimal point stands behind `whole` digits, moved by the exponent.
        var index = isNegative ? 1 : 0
        let first = index
        while index < number.count, isDigit(number[index]) { index &+= 1 }
        var point = index &- first
        var last = index
        if index < number.count, number[index] == 0x2e {
            index &+= 1
            while index < number.count, isDigit(number[index]) { index &+= 1 }
            last = index
        }
        if index < number.count { point &+= exponent(number, index &+ 1) }
        guard let (whole, hasFraction) = value(number, first, last, point) else { return nil }
        guard hasFraction else { return isNegative ? -whole : whole }
        if isNegative { return roundingUp ? -whole : -whole &- 1 }
        return roundingUp ? whole &+ 1 : whole
    }

    /// The value of the digits from `first` to `last` with the point behind `point` of them, and whether there is more
    /// behind the point.
    private static func value(
        _ number: Span<UInt8>, _ first: Int, _ last: Int, _ point: Int
    ) -> (whole: Int64, hasFraction: Bool)? {
        var value: Int64 = 0
        var hasFraction = false
        var position = 0
        for index in first..<last where number[index] != 0x2e {
            let digit = Int64(number[index] &- 0x30)
            if position < point {
                value = value &* 10 &+ digit
                guard value <= largestSecond else { return nil }
            } else if digit != 0 {
                hasFraction = true
            }
            position &+= 1
        }
        while position < point, value != 0 {
            value &*= 10
            guard value <= largestSecond else { return nil }
            position &+= 1
        }
        return (value, hasFraction)
    }

    /// The exponent, at most ±100,000: farther away makes no difference to a text of that many digits.
    private static func exponent(_ number: Span<UInt8>, _ start: Int) -> Int {
        var index = start
        let isNegative = number[index] == 0x2d
        if !isDigit(number[index]) { index &+= 1 }
        var exponent = 0
        while index < number.count {
            exponent = min(exponent * 10 + Int(number[index] &- 0x30), 100_000)
            index &+= 1
        }
        return isNegative ? -exponent : exponent
    }

    @inline(__always)
    private static func isDigit(_ byte: UInt8) -> Bool { byte >= 0x30 && byte <= 0x39 }

    @inline(__always)
    private static func digits(_ text: borrowing MutableSpan<UInt8>, _ start: Int, _ end: Int) -> Int {
        var index = start
        while index < end, isDigit(text[index]) { index &+= 1 }
        return index
    }
}
