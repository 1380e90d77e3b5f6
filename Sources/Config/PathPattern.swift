/// A route's path: literal segments, `{name}` for one segment, `**` at the end for the rest.
public struct PathPattern: Sendable, Hashable {
    /// One part between slashes.
    public enum Segment: Sendable, Hashable {
        /// Exactly these characters.
        case literal(String)
        /// Any one segment, remembered under a name.
        case capture(String)
        /// All the rest; only as the last one.
        case rest
    }

    /// The segments from left to right; empty for `/`. A trailing slash is a last literal that is empty.
    public let segments: [Segment]
    /// The text of the file.
    public let text: String
}
