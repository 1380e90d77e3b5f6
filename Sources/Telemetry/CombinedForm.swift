internal import Bytes

/// A line of the "combined" form, which every log analyser reads:
/// `client - user [31/Jan/2026:23:59:59 +0000] "GET /path HTTP/1.1" 200 512 "referer" "user agent"`.
struct CombinedForm: ~Copyable {
    // 28 bytes of text, always well-formed; holds the second `cached`.
    private var date: InlineArray<28, UInt8> = InlineArray(repeating: 0x20)
    private var cached: Int64 = .min

    private static var months: InlineArray<36, UInt8> {
        let text: StaticString = "JanFebMarAprMayJunJulAugSepOctNovDec"
        var bytes: InlineArray<36, UInt8> = InlineArray(repeating: 0)
        for (index, byte) in "\(text)".utf8.enumerated() { bytes[index] = byte }
        return bytes
    }

    mutating func append(_ record: borrowing AccessRecord, to batch: inout Buffer) {
        Self.appendWord(record.client, to: &batch)
        _ = batch.append(" - ")
        Self.appendWord(record.user, to: &batch)
        _ = batch.append(" ")
        appendDate(record.time / 1000, to: &batch)
        _ = batch.append(" \"")
        if record.method.isEmpty {
            _ = batch.append("-")
        } else {
            Self.appendEscaped(record.method, limit: AccessLog.textLimitBytes, to: &batch)
            _ = batch.append(" ")
            Self.appendEscaped(record.path, limit: AccessLog.pathLimitBytes, to: &batch)
            _ = batch.append(" ")
            _ = batch.append(record.protocolName)
        }
        _ = batch.append("\" ")
        JSONText.appendInteger(Int64(record.status), to: &batch)
        _ = batch.append(" ")
        JSONText.appendInteger(record.responseBytes, to: &batch)
        Self.appendQuoted(record.referer, to: &batch)
        Self.appendQuoted(record.userAgent, to: &batch)
        _ = batch.append("\n")
    }

    private static func appendQuoted(_ text: Span<UInt8>, to batch: inout Buffer) {
        _ = batch.append(" \"")
        if text.isEmpty { _ = batch.append("-") }
        appendEscaped(text, limit: AccessLog.textLimitBytes, to: &batch)
        _ = batch.append("\"")
    }

    /// A text between spaces: a user may have any name, so spaces in it are escaped too.
    private static func appendWord(_ text: Span<UInt8>, to batch: inout Buffer) {
        if text.isEmpty { _ = batch.append("-") }
        let end = min(text.count, AccessLog.textLimitBytes)
        for index in 0..<end { appendByte(text[index], escapesSpace: true, to: &batch) }
    }

    private static func appendEscaped(_ text: Span<UInt8>, limit: Int, to batch: inout Buffer) {
        let end = min(text.count, limit)
        for index in 0..<end { appendByte(text[index], escapesSpace: false, to: &batch) }
    }

    /// `\xHH` for what could end the text or the line, or steer a terminal.
    private static func appendByte(_ byte: UInt8, escapesSpace: Bool, to batch: inout Buffer) {
        let isPlain = byte > 0x20 && byte < 0x7f && byte != 0x22 && byte != 0x5c
        if isPlain || (byte == 0x20 && !escapesSpace) {
            _ = batch.append(byte)
        } else {
            _ = batch.append("\\x")
            _ = batch.append(digit(byte >> 4))
            _ = batch.append(digit(byte & 15))
        }
    }

    private static func digit(_ value: UInt8) -> UInt8 { value < 10 ? 0x30 + value : 0x37 + value }

    private mutating func appendDate(_ second: Int64, to batch: inout Buffer) {
        if second != cached { format(max(0, second)) }
        _ = batch.append(date.span)
    }

    private mutating func format(_ second: Int64) {
        let day = CivilDate(daysSince1970: Int(second / 86_400))
        let time = Int(second % 86_400)
        let months = Self.months
        put("[", at: 0)
        put(day.day, digits: 2, at: 1)
        put("/", at: 3)
        for place in 0..<3 { date[4 + place] = months[(day.month - 1) * 3 + place] }
        put("/", at: 7)
        put(day.year, digits: 4, at: 8)
        put(":", at: 12)
        put(time / 3600, digits: 2, at: 13)
        put(":", at: 15)
        put(time / 60 % 60, digits: 2, at: 16)
        put(":", at: 18)
        put(time % 60, digits: 2, at: 19)
        put(" +0000]", at: 21)
        cached = second
    }

    private mutating func put(_ text: String, at start: Int) {
        for (offset, byte) in text.utf8.enumerated() { date[start + offset] = byte }
    }

    private mutating func put(_ value: Int, digits: Int, at start: Int) {
        var rest = value
        for index in (start..<start + digits).reversed() {
            date[index] = 0x30 + UInt8(truncatingIfNeeded: rest % 10)
            rest /= 10
        }
    }
}
