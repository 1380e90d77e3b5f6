import Testing

@testable import Config

@Suite struct TOMLParserTests {
    private func parse(_ text: String) throws -> TOMLTable {
        guard case .table(let table) = try TOMLParser.parse(Array(text.utf8)).value else {
            Issue.record("the root is no table")
            return TOMLTable(entries: [])
        }
        return table
    }

    @Test func keysKeepTheirOrderAndTheirPlaces() throws {
        let table = try parse("zebra = 1\n  apple = \"é\" \n[middle]\nx = true\n")
        #expect(table.entries.map(\.key) == ["zebra", "apple", "middle"])
        #expect(
            table.entries.map(\.position) == [
                SourcePosition(line: 1, column: 1), SourcePosition(line: 2, column: 3),
                SourcePosition(line: 3, column: 2),
            ])
        #expect(table["apple"]?.node.value == .string("é"))
        #expect(table["apple"]?.node.start == SourcePosition(line: 2, column: 11))
        #expect(table["middle"]?.node.start == SourcePosition(line: 3, column: 1))
    }

    @Test func everyKindOfValue() throws {
        let table = try parse("a = [1, -2]\nb = 1.5\nc = false\nd = 2026-01-01\ne = { f = '' }\ng = []\n")
        guard case .array(let numbers) = table["a"]?.node.value else {
            Issue.record("a is no list")
            return
        }
        #expect(numbers.map(\.value) == [.integer(1), .integer(-2)])
        #expect(table["b"]?.node.value == .float(1.5))
        #expect(table["c"]?.node.value == .boolean(false))
        #expect(table["d"]?.node.value == .dateTime)
        #expect(table["e"]?.node.value.kind == "a table")
        #expect(table["g"]?.node.value == .array([]))
    }

    @Test func anEmptyTextIsAnEmptyTable() throws {
        #expect(try parse("").entries.isEmpty)
    }

    @Test(arguments: [
        ("a = ", 1, 5), ("a = 1\na = 2\n", 2, 5), ("x = \"abc\n", 1, 9), ("[a\n", 1, 3),
        ("a = 1 b = 2", 1, 7),
        ("a = 99999999999999999999", 1, 25),
        // Names that begin with what cannot begin one: assertions of toml++ (found by fuzzing).
        ("[.a]", 1, 2), ("[[.a]]", 1, 3), ("[=]", 1, 2), ("[ #]", 1, 3),
    ])
    func aMistakeHasItsPlace(text: String, line: Int, column: Int) {
        #expect {
            _ = try TOMLParser.parse(Array(text.utf8))
        } throws: { error in
            guard let failure = error as? TOMLParser.Failure else { return false }
            #expect(!failure.message.isEmpty)
            return failure.position.line == line && abs(failure.position.column - column) <= 1
        }
    }

    @Test func bytesThatAreNotUTF8AreRefused() {
        #expect(throws: TOMLParser.Failure.self) {
            try TOMLParser.parse(Array("a = \"".utf8) + [0xC3, 0x28] + Array("\"".utf8))
        }
    }

    /// So deep that toml++, which calls itself for each level, overflowed the stack.
    @Test(arguments: [
        ("a.", "a = 1"), ("[a.", "a]"), ("[[a.", "a]]"), ("x = { a.", "a = 1 }"),
        ("x = [[{ 'a' .", "\"a\" = 1 }]]"),
        ("x = '\\'\ny = \"\"\"\"\\\"\"\"\"\"\na.", "a = 1"), ("#'\n\"b\".", "c = 1"),
    ])
    func keysThatWouldOverflowTheStackAreRefused(before: String, after: String) {
        let text = before + String(repeating: "a.", count: 400_000) + after
        #expect {
            _ = try TOMLParser.parse(Array(text.utf8))
        } throws: { error in
            guard let failure = error as? TOMLParser.Failure else { return false }
            return failure.message == "tables and arrays are nested more than 64 deep"
                && failure.position.line == before.utf8.count { $0 == 10 } + 1
                && failure.position.column > 128
        }
    }

    /// Dots that are no key's, and keys that are just deep enough.
    @Test(arguments: [
        "a = \"DOTS\"", "a = 'DOTS'", "a = \"\"\"DOTS\nDOTS\"\"\"\"\"", "a = '''DOTS\nDOTS'''", "# DOTS",
        "a = 1 # DOTS", "a = \"\\\"DOTS\"", "a = '\\' # DOTS", "\"DOTS\" = 1", "'DOTS' = 1", "[\"DOTS\"]",
        "a = \"\"\"\\\"\"\"DOTS\"\"\"", "a = \"\" # DOTS", "a = [\n'', # DOTS\n\"\"\"\"\"\", 'DOTS']",
        "a = [ FLOATS ]", "a = { b = [ FLOATS ], c = 1979-05-27T07:32:00.999 }", "LINES",
        "a = ''''DOTS'''''", "a = \"\"\"\"DOTS\"\"\"\"", "# \"\r\na = '# DOTS'\r\n",
    ])
    func dotsThatAreNoKeysAreNotCounted(form: String) throws {
        let text = form.replacing("DOTS", with: String(repeating: ".a", count: 1000))
            .replacing("FLOATS", with: String(repeating: "1.5, ", count: 1000))
            .replacing("LINES", with: (0..<1000).map { "a.b.c.d\($0) = 1.5" }.joined(separator: "\n"))
        _ = try parse(text)
        let deepest = Array(repeating: "z", count: 64).joined(separator: ".")
        _ = try parse("\(form.hasPrefix("[") ? "" : deepest + " = 1.5\n")\(text)")
        _ = try parse("\(text)\n[\(deepest)]")
        #expect(throws: TOMLParser.Failure.self) { try parse("\(text)\n[z.\(deepest)]") }
    }

    @Test func nestingIsBounded() {
        let keys = Array(repeating: "a", count: 200).joined(separator: ".")
        #expect(throws: TOMLParser.Failure.self) { try TOMLParser.parse(Array("\(keys) = 1".utf8)) }
        let brackets = String(repeating: "[", count: 5000)
        #expect(throws: TOMLParser.Failure.self) { try TOMLParser.parse(Array("a = \(brackets)".utf8)) }
    }
}
