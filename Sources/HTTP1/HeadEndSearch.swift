import Bytes

/// Searches an incomplete head for its end, each byte once, however it trickles in.
struct HeadEndSearch: Sendable, BitwiseCopyable {
    /// How many bytes were searched; 0 at the start of a head.
    private(set) var scanned = 0

    /// True where reading the head promises a result: nothing was read yet, or an empty line has come, or a line feed
    /// that no carriage return precedes, which is a fault.
    mutating func isWorthReading(_ bytes: Span<UInt8>) -> Bool {
        guard scanned > 0 else { return true }
        while true {
            let index = ASCII.firstIndex(of: 0x0A, in: bytes, from: scanned, to: bytes.count)
            guard index < bytes.count else {
                scanned = bytes.count
                return false
            }
            scanned = index + 1
            if index == 0 || bytes[index - 1] != 0x0D || (index >= 2 && bytes[index - 2] == 0x0A) {
                return true
            }
        }
    }

    /// The head is incomplete: the bytes so far need not be searched again.
    mutating func setScanned(_ count: Int) { scanned = count }
}
