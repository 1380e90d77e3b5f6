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
