/// The byte order mark that editors of Windows put in front of a text in UTF-8 (RFC 3629 §6): no part of what it says.
public enum ByteOrderMark {
    /// How many bytes of `text` it takes: 3, or 0 where there is none.
    public static func byteCount(in text: Span<UInt8>) -> Int {
        text.count >= 3 && text[0] == 0xef && text[1] == 0xbb && text[2] == 0xbf ? 3 : 0
    }
}
