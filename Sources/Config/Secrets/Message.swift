/// The text of a diagnostic, in which the program's own words are told apart from what they quote.
///
/// What is quoted may come from a value of the file, and that from an environment variable that holds a secret: the
/// ``Loader`` looks at each quotation before it is shown. A literal is the program's own; everything that is interpolated is
/// a quotation, unless it is a number or is marked as `own`.
struct Message: ExpressibleByStringInterpolation {
    fileprivate enum Part {
        case words(String)
        case quotation(String)
    }

    private var parts: [Part]

    init(stringLiteral words: String) { parts = [.words(words)] }

    init(stringInterpolation interpolation: StringInterpolation) { parts = interpolation.parts }

    /// A text of which it is not known what in it is quoted.
    init(quoting text: String) { parts = [.quotation(text)] }

    private init(parts: [Part]) { self.parts = parts }

    static func + (first: Message, second: Message) -> Message {
        Message(parts: first.parts + second.parts)
    }

    /// The whole text, with what `quotable` makes of each quotation.
    func text(_ quotable: (String) -> String) -> String {
        parts.map { part in
            switch part {
            case .words(let words): words
            case .quotation(let text): quotable(text)
            }
        }.joined()
    }

    /// Takes literals and quotations apart.
    struct StringInterpolation: StringInterpolationProtocol {
        fileprivate var parts: [Part] = []

        init(literalCapacity: Int, interpolationCount: Int) {}

        mutating func appendLiteral(_ literal: String) { parts.append(.words(literal)) }

        mutating func appendInterpolation<Value>(_ value: Value) { parts.append(.quotation("\(value)")) }

        mutating func appendInterpolation<Number: BinaryInteger>(_ number: Number) {
            parts.append(.words("\(number)"))
        }

        /// Words of the program that are no literal, such as a list of what is known.
        mutating func appendInterpolation(own words: String) { parts.append(.words(words)) }
    }
}
