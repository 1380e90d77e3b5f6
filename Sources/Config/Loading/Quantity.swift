import Bytes

/// Durations and sizes as the file writes them: a whole number and a unit, without a space.
enum Quantity {
    /// Why a text is not a quantity.
    enum Failure: Error, Equatable {
        case noNumber
        case noUnit(number: String)
        case unknownUnit(String)
        case tooLarge
    }

    static let durationUnits: [(name: String, milliseconds: Int64)] = [
        ("ms", 1), ("s", 1000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000),
    ]
    static let sizeUnits: [(name: String, bytes: Int64)] = [
        ("B", 1), ("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30), ("TiB", 1 << 40),
    ]

    /// `"250ms"`, `"30s"`, `"5m"`, `"12h"`, `"7d"`.
    static func duration(_ text: String) throws(Failure) -> Duration {
        .milliseconds(try value(text, units: durationUnits.map { ($0.name, $0.milliseconds) }))
    }

    /// `"512B"`, `"16KiB"`, `"10MiB"`, `"2GiB"`, in bytes.
    static func size(_ text: String) throws(Failure) -> Int {
        Int(try value(text, units: sizeUnits.map { ($0.name, $0.bytes) }))
    }

    /// The one quantity that is meant by a text of several, or by one with a fraction, such as `1m30s` and `1.5s`; nil where it
    /// is not a whole number of the smallest unit, or no quantity at all.
    static func durationMeant(by text: String) -> String? {
        sum(text, units: durationUnits.map { ($0.name, $0.milliseconds) }).map {
            self.text(.milliseconds($0))
        }
    }

    /// The same of sizes.
    static func sizeMeant(by text: String) -> String? {
        sum(text, units: sizeUnits.map { ($0.name, $0.bytes) }).map { self.text(bytes: Int($0)) }
    }

    private static func sum(_ text: String, units: [(String, Int64)]) -> Int64? {
        var rest = text[...]
        var sum: Int64 = 0
        while !rest.isEmpty {
            let number = rest.prefix { $0 == "." || $0.isASCII && $0.isNumber }
            rest = rest.dropFirst(number.count).drop { $0 == " " }
            let unit = rest.prefix { $0.isASCII && $0.isLetter }
            rest = rest.dropFirst(unit.count).drop { $0 == " " }
            guard let factor = units.first(where: { $0.0 == unit })?.1, let part = product(number, factor)
            else { return nil }
            let (next, overflow) = sum.addingReportingOverflow(part)
            guard !overflow else { return nil }
            sum = next
        }
        return sum > 0 ? sum : nil
    }

    /// A number with up to six digits behind its point, times a factor; nil where that is not whole.
    private static func product(_ number: Substring, _ factor: Int64) -> Int64? {
        let parts = number.split(separator: ".", omittingEmptySubsequences: false)
        guard (1...2).contains(parts.count), parts.allSatisfy({ (1...6).contains($0.utf8.count) }),
            let whole = Int64(String(parts[0]))
        else { return nil }
        guard parts.count == 2 else { return whole * factor }
        var scale: Int64 = 1
        for _ in parts[1].utf8 { scale *= 10 }
        let (scaled, overflow) = (Int64(String(parts[1])) ?? 0).multipliedReportingOverflow(by: factor)
        guard !overflow, scaled % scale == 0 else { return nil }
        return whole * factor + scaled / scale
    }

    private static func value(_ text: String, units: [(String, Int64)]) throws(Failure) -> Int64 {
        let digits = text.utf8.prefix(while: ASCII.isDigit)
        guard !digits.isEmpty else { throw .noNumber }
        let unit = String(text.dropFirst(digits.count))
        guard !unit.isEmpty else { throw .noUnit(number: text) }
        guard let factor = units.first(where: { $0.0 == unit })?.1 else { throw .unknownUnit(unit) }
        guard let number = Int64(String(Substring(digits))) else { throw .tooLarge }
        let (product, overflow) = number.multipliedReportingOverflow(by: factor)
        if overflow { throw .tooLarge }
        return product
    }

    /// The duration in the greatest unit that needs no fraction.
    static func text(_ duration: Duration) -> String {
        let (seconds, attoseconds) = duration.components
        let milliseconds = seconds * 1000 + attoseconds / 1_000_000_000_000_000
        // Nothing is the same in every unit, and seconds are what people write.
        guard milliseconds != 0 else { return "0s" }
        return text(milliseconds, units: durationUnits.map { ($0.name, $0.milliseconds) })
    }

    /// The size in the greatest unit that needs no fraction.
    static func text(bytes: Int) -> String {
        text(Int64(bytes), units: sizeUnits.map { ($0.name, $0.bytes) })
    }

    private static func text(_ value: Int64, units: [(String, Int64)]) -> String {
        let unit = units.last { value % $0.1 == 0 && value >= $0.1 } ?? units[0]
        return "\(value / unit.1)\(unit.0)"
    }
}
