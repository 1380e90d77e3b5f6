/// A message head, read as plainly as can be: this side of the wire shares nothing with the proxy's.
struct PlainHead {
    let start: [String]
    private(set) var fields: [(name: String, value: String)] = []
    /// The place behind the empty line.
    let end: Int

    /// Nil while the empty line has not come.
    init?(_ bytes: [UInt8], from start: Int) {
        func text(_ range: Range<Int>) -> String { String(decoding: bytes[range], as: UTF8.self) }
        var lines: [Range<Int>] = []
        var (begin, place) = (start, start)
        while true {
            guard place + 1 < bytes.count else { return nil }
            if bytes[place] != 13 || bytes[place + 1] != 10 {
                place += 1
                continue
            }
            if place == begin { break }
            lines.append(begin..<place)
            place += 2
            begin = place
        }
        end = place + 2
        self.start = lines.first.map { text($0).split(separator: " ", maxSplits: 2).map(String.init) } ?? []
        for line in lines.dropFirst() {
            let colon = bytes[line].firstIndex(of: UInt8(ascii: ":")) ?? line.upperBound
            let value = bytes[colon..<line.upperBound].dropFirst().drop { $0 == 32 }
            fields.append(
                (text(line.lowerBound..<colon).lowercased(), text(value.startIndex..<line.upperBound)))
        }
    }

    func value(_ name: String) -> String? { fields.first { $0.name == name }?.value }
    func count(_ name: String) -> Int { fields.count { $0.name == name } }
}

/// What a body is, so far.
enum PlainBody {
    case incomplete, broken
    case complete([UInt8], end: Int)

    /// Fields behind a body, one of which would be somebody else's identity.
    static let trailers = [("x-check", "sum"), ("x-user-id", "mallory")]
    static let trailerLines = trailers.map { "\($0.0): \($0.1)\r\n" }.joined()

    static func counted(_ bytes: [UInt8], from start: Int, count: Int) -> PlainBody {
        bytes.count - start < count
            ? .incomplete : .complete(Array(bytes[start..<start + count]), end: start + count)
    }

    static func chunked(_ bytes: [UInt8], from start: Int) -> PlainBody {
        var content: [UInt8] = []
        var place = start
        while true {
            guard let end = bytes[place...].firstIndex(of: 10) else { return .incomplete }
            let line = String(decoding: bytes[place..<end], as: UTF8.self)
            guard line.last == "\r", let size = Int(line.dropLast(), radix: 16) else { return .broken }
            place = end + 1
            if size == 0 {
                // Trailers, up to the empty line.
                while let end = bytes[place...].firstIndex(of: 10) {
                    let isEmpty = end == place + 1
                    place = end + 1
                    if isEmpty { return .complete(content, end: place) }
                }
                return .incomplete
            }
            guard bytes.count >= place + size + 2 else { return .incomplete }
            content += bytes[place..<place + size]
            guard bytes[place + size] == 13, bytes[place + size + 1] == 10 else { return .broken }
            place += size + 2
        }
    }
}

/// A body in chunks of that size, with these lines behind it.
func chunks(_ body: [UInt8], size: Int, trailers: String = "") -> [UInt8] {
    var bytes: [UInt8] = []
    var place = 0
    while place < body.count {
        let count = min(size, body.count - place)
        bytes += Array((String(count, radix: 16) + "\r\n").utf8) + body[place..<place + count] + [13, 10]
        place += count
    }
    return bytes + Array("0\r\n\(trailers)\r\n".utf8)
}
