public import Bytes
public import HTTP

/// The lines of a trailer section (RFC 9112 §7.1.2).
public enum TrailerSection {
    /// Reads the lines in `range`, as `BodyEvent.end` gives it, into `fields`, whose former content is forgotten.
    ///
    /// Leave out lines with flags of `FieldFlags.removedFromTrailers`, and what the policy strips. Gives what is wrong
    /// with the lines, or nil; `trailerTooLarge` also where they do not fit into `fields`.
    public static func parse(
        _ bytes: Span<UInt8>, _ range: ByteRange, into fields: inout FieldTable
    ) -> MessageFault? {
        fields.removeAll()
        let section = bytes.extracting(0..<range.end)
        var reader = FieldLineReader(at: Int(range.start))
        var field = FieldLine.none
        while reader.offset < range.end {
            guard case .line = reader.next(section, &field) else { return .badTrailer }
            guard fields.append(field) else { return .trailerTooLarge }
        }
        return nil
    }

    /// Checks the syntax of the lines in `range`, and that they are not too many.
    static func fault(_ bytes: Span<UInt8>, _ range: ByteRange) -> MessageFault? {
        let section = bytes.extracting(0..<range.end)
        var reader = FieldLineReader(at: Int(range.start))
        var field = FieldLine.none
        var count = 0
        while reader.offset < range.end {
            guard case .line = reader.next(section, &field) else { return .badTrailer }
            count += 1
            guard count <= HeadLimits.trailerCount else { return .trailerTooLarge }
        }
        return nil
    }
}
