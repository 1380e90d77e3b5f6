import Testing

@testable import Bytes

@Suite("ByteRange and FixedArray")
struct RangeAndArrayTests {
    @Test("A range counts from its start to before its end")
    func range() {
        let range = ByteRange(from: 3, to: 7)
        #expect(range == ByteRange(start: 3, count: 4))
        #expect(range.end == 7 && range.bounds == 3..<7 && !range.isEmpty)
        #expect(ByteRange.empty.isEmpty && ByteRange(from: 5, to: 5).isEmpty)
        #expect(ByteRange(start: 2, count: 1).within(range) == ByteRange(start: 5, count: 1))
    }

    @Test("An array takes as many as it has room for, and starts anew when emptied")
    func array() {
        var array = FixedArray<Int32>(capacity: 3)
        #expect(array.count == 0 && array.capacity == 3)
        for value in 0..<3 { #expect(array.append(Int32(value)) == true) }
        #expect(array.append(9) == false)
        #expect(array.count == 3 && array[2] == 2)
        array[1] = 7
        #expect(array[0] == 0 && array[1] == 7)
        array.removeAll()
        #expect(array.count == 0)
        #expect(array.append(5) && array[0] == 5)
    }

    @Test("A list grows as it is filled, keeps what is in it, and starts anew when emptied")
    func list() {
        var list = GrowingArray<Int32>()
        #expect(list.isEmpty && list.last == nil && list.popLast() == nil)
        for value in 0..<1000 { list.append(Int32(value)) }
        #expect(list.count == 1000 && list.last == 999)
        list[500] = -1
        for index in 0..<1000 where list[index] != (index == 500 ? -1 : Int32(index)) {
            Issue.record("another value at \(index)")
        }
        #expect(list.popLast() == 999 && list.count == 999)
        list.removeAll()
        list.append(5)
        #expect(list.count == 1 && list[0] == 5)
    }

    @Test("Reading or writing beyond a list is a bug")
    func beyondList() async {
        await #expect(processExitsWith: .failure) {
            let list = GrowingArray<Int32>()
            _ = list[0]
        }
        await #expect(processExitsWith: .failure) {
            var list = GrowingArray<Int32>()
            list.append(1)
            list[1] = 1
        }
        await #expect(processExitsWith: .failure) {
            var list = GrowingArray<Int32>()
            list.append(1)
            list.removeAll()
            _ = list[0]
        }
    }

    @Test("A line is its two parts, what stands between them, and CRLF")
    func line() {
        var bytes = ByteArray()
        for _ in 0..<3 {
            bytes.appendLine(Array("name".utf8).span, ": ", Array("value".utf8).span)
            bytes.appendLine(Span(), "GET ", Span())
        }
        let text = bytes.span
        let expected = String(repeating: "name: value\r\nGET \r\n", count: 3)
        #expect(String(decoding: text.indices.map { text[$0] }, as: UTF8.self) == expected)
    }

    @Test("Reading or writing behind the last element, and an array without room, are bugs")
    func bugs() async {
        await #expect(processExitsWith: .failure) {
            let array = FixedArray<UInt8>(capacity: 4)
            _ = array[0]
        }
        await #expect(processExitsWith: .failure) {
            var array = FixedArray<UInt8>(capacity: 4)
            array[0] = 1
        }
        await #expect(processExitsWith: .failure) { _ = FixedArray<UInt8>(capacity: 0) }
    }
}
