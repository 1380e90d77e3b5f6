/// What a key with a quantity came to.
enum Setting<Value> {
    /// The key is not there.
    case absent
    /// It says `"off"`.
    case off
    /// It says this, within its range.
    case value(Value)
    /// It is wrong, and has been reported.
    case wrong

    /// The value, or what stands for it: nil only for "off".
    func value(default fallback: Value?) -> Value? {
        switch self {
        case .absent, .wrong: fallback
        case .off: nil
        case .value(let value): value
        }
    }
}

/// A kind of quantity, for reading and for messages.
struct QuantityKind<Value: Comparable> {
    var name: String
    var example: String
    var units: [String]
    /// What somebody who left the unit out will have meant.
    var withUnit: (String) -> String
    var parse: (String) throws(Quantity.Failure) -> Value
    /// What is meant by a text of several quantities, or by one with a fraction.
    var meant: (String) -> String?
    var text: (Value) -> String
}

extension QuantityKind where Value == Duration {
    static var duration: QuantityKind {
        QuantityKind(
            name: "a duration", example: "\"30s\"", units: Quantity.durationUnits.map(\.name),
            withUnit: { "\($0)s" }, parse: Quantity.duration,
            meant: Quantity.durationMeant(by:), text: { Quantity.text($0) })
    }
}

extension QuantityKind where Value == Int {
    static var size: QuantityKind {
        QuantityKind(
            name: "a size", example: "\"10MiB\"", units: Quantity.sizeUnits.map(\.name),
            // From 1024 on it was a count of bytes, as other programs take it: "10485760KiB" would be 10 GiB.
            withUnit: { number in
                Int(number).flatMap { $0 < 1024 ? nil : Quantity.text(bytes: $0) } ?? "\(number)KiB"
            },
            parse: Quantity.size, meant: Quantity.sizeMeant(by:), text: { Quantity.text(bytes: $0) })
    }
}

extension Section {
    /// A duration within a range.
    func duration(_ key: String, default fallback: Duration, in range: ClosedRange<Duration>) -> Duration {
        setting(key, .duration, in: range).value(default: fallback) ?? fallback
    }

    /// A size in bytes within a range.
    func size(_ key: String, default fallback: Int, in range: ClosedRange<Int>) -> Int {
        setting(key, .size, in: range).value(default: fallback) ?? fallback
    }

    /// A quantity within a range; `orOff`: the word `"off"` will do.
    func setting<Value>(
        _ key: String, _ kind: QuantityKind<Value>, in range: ClosedRange<Value>, orOff: Bool = false
    ) -> Setting<Value> {
        guard let entry = table[key] else { return .absent }
        let start = entry.node.start
        switch entry.node.value {
        case .string(let raw):
            guard let text = loader.expand(raw, at: start) else { return .wrong }
            if orOff && text == "off" { return .off }
            return parsed(key, Located(value: text, position: start), kind, in: range, orOff)
        case .integer(let number): bareNumber(key, "\(number)", at: start, kind)
        case .float: bareNumber(key, nil, at: start, kind)
        default: mismatch(entry, expected: "\(kind.name) such as \(kind.example)")
        }
        return .wrong
    }

    private func parsed<Value>(
        _ key: String, _ text: Located<String>, _ kind: QuantityKind<Value>, in range: ClosedRange<Value>,
        _ orOff: Bool
    ) -> Setting<Value> {
        do throws(Quantity.Failure) {
            let value = try kind.parse(text.value)
            if range.contains(value) { return .value(value) }
            let (least, most) = (kind.text(range.lowerBound), kind.text(range.upperBound))
            loader.error(text.position, "\"\(key)\" must be between \(least) and \(most), not \(text.value)")
        } catch {
            explain(error, key, text, kind, orOff)
        }
        return .wrong
    }

    private func explain<Value>(
        _ failure: Quantity.Failure, _ key: String, _ text: Located<String>, _ kind: QuantityKind<Value>,
        _ orOff: Bool
    ) {
        let units = kind.units.joined(separator: ", ")
        switch failure {
        case .noUnit(let number): bareNumber(key, number, at: text.position, kind)
        case .unknownUnit(let unit):
            let better = Self.nearestUnit(to: unit, among: kind.units).map {
                String(text.value.dropLast(unit.count)) + $0
            }
            // Of several quantities, or a fraction, the first number alone was looked at.
            let isOne = unit.allSatisfy { !$0.isNumber && $0 != "." }
            let message: Message =
                isOne
                ? "\"\(key)\": unknown unit in \"\(text.value)\" (units: \(own: units))"
                : "\"\(key)\" must be one whole number and its unit, not \"\(text.value)\" (units: \(own: units))"
            loader.error(text.position, message, didYouMean: kind.meant(text.value) ?? better)
        case .noNumber:
            let off = orOff ? " or \"off\"" : ""
            loader.error(
                text.position,
                "\"\(key)\" must be \(own: kind.name) such as \(own: kind.example + off), not \"\(text.value)\""
            )
        case .tooLarge:
            loader.error(text.position, "\"\(key)\": the number in \"\(text.value)\" is too large")
        }
    }

    private func bareNumber<Value>(
        _ key: String, _ number: String?, at position: SourcePosition, _ kind: QuantityKind<Value>
    ) {
        // A fraction is no quantity with a unit either.
        let example = number.map { "\"\(kind.withUnit($0))\"" } ?? kind.example
        loader.error(
            position,
            "\"\(key)\" is a bare number: \(own: kind.name) is a string with a unit, such as \(example) "
                + "(units: \(own: kind.units.joined(separator: ", ")))")
    }

    /// `KB`, `kb` and `K` for `KiB`; `S` and `sec` for `s`. None for the rest of `1h30m`, which would be lost.
    private static func nearestUnit(to unit: String, among units: [String]) -> String? {
        if unit.contains(where: \.isNumber) { return nil }
        let trimmed = unit.trimmingSpaces.lowercased()
        return units.first { $0.lowercased() == trimmed }
            ?? units.first { $0.lowercased() == trimmed.replacingFirst("b", with: "ib") }
            ?? units.first { $0.lowercased() == trimmed + "ib" }
            ?? units.first { trimmed.hasPrefix($0.lowercased()) && $0 != "B" }
    }
}

extension String {
    fileprivate var trimmingSpaces: String { String(drop { $0 == " " }) }

    /// With the first `letter`, if there is one, replaced.
    fileprivate func replacingFirst(_ letter: Character, with text: String) -> String {
        guard let place = firstIndex(of: letter) else { return self }
        return self[..<place] + text + self[index(after: place)...]
    }
}
