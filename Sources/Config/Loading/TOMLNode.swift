/// A TOML value and where it stands in the text.
struct TOMLNode: Sendable, Equatable {
    var value: TOMLValue
    /// The first character; of a `[table]`, its header's opening bracket.
    var start: SourcePosition
    /// The place after the last character.
    var end: SourcePosition
}

/// What a TOML value is.
indirect enum TOMLValue: Sendable, Equatable {
    case table(TOMLTable)
    case array([TOMLNode])
    case string(String)
    case integer(Int64)
    case float(Double)
    case boolean(Bool)
    case dateTime

    /// For "expected …, not KIND".
    var kind: String {
        switch self {
        case .table: "a table"
        case .array: "a list"
        case .string: "a string"
        case .integer, .float: "a number"
        case .boolean: "true or false"
        case .dateTime: "a date"
        }
    }
}

/// Keys and values in the order of the text.
struct TOMLTable: Sendable, Equatable {
    var entries: [TOMLEntry]

    subscript(key: String) -> TOMLEntry? {
        entries.first { $0.key == key }
    }
}

/// A key, where it stands, and its value.
struct TOMLEntry: Sendable, Equatable {
    var key: String
    var position: SourcePosition
    var node: TOMLNode
}
