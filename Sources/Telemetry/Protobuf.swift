/// Fields of a Protocol Buffers message, as far as spans need them (https://protobuf.dev/programming-guides/encoding).
enum ProtobufField {
    static func append(varint number: UInt64, to bytes: inout [UInt8]) {
        var rest = number
        while rest >= 0x80 {
            bytes.append(UInt8(truncatingIfNeeded: rest) | 0x80)
            rest >>= 7
        }
        bytes.append(UInt8(rest))
    }

    /// A number: `int32`, `uint32`, `enum`, `bool`.
    static func append(number: UInt64, as field: UInt64, to bytes: inout [UInt8]) {
        append(varint: field << 3, to: &bytes)
        append(varint: number, to: &bytes)
    }

    /// Eight bytes, the lowest first: `fixed64`.
    static func append(fixed64 number: UInt64, as field: UInt64, to bytes: inout [UInt8]) {
        append(varint: field << 3 | 1, to: &bytes)
        for shift in stride(from: UInt64(0), to: 64, by: 8) {
            bytes.append(UInt8(truncatingIfNeeded: number >> shift))
        }
    }

    /// Four bytes, the lowest first: `fixed32`.
    static func append(fixed32 number: UInt32, as field: UInt64, to bytes: inout [UInt8]) {
        append(varint: field << 3 | 5, to: &bytes)
        for shift in stride(from: UInt32(0), to: 32, by: 8) {
            bytes.append(UInt8(truncatingIfNeeded: number >> shift))
        }
    }

    /// `bytes`, `string`, or a message in a message.
    static func append(bytes content: ArraySlice<UInt8>, as field: UInt64, to bytes: inout [UInt8]) {
        append(header: field, count: content.count, to: &bytes)
        bytes += content
    }

    /// What comes before the content of such a field.
    static func append(header field: UInt64, count: Int, to bytes: inout [UInt8]) {
        append(varint: field << 3 | 2, to: &bytes)
        append(varint: UInt64(count), to: &bytes)
    }

    /// How many bytes such a field takes whose number is below 16.
    static func size(ofBytes count: Int) -> Int { 1 + size(ofVarint: UInt64(count)) + count }

    /// How many bytes a number takes.
    static func size(ofVarint number: UInt64) -> Int { max(1, (70 - number.leadingZeroBitCount) / 7) }
}
