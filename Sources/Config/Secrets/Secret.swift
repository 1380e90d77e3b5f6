/// Bytes that must never be printed: describing or dumping one shows only that it is there.
public struct Secret: Sendable, Equatable, CustomStringConvertible, CustomDebugStringConvertible,
    CustomReflectable
{
    /// The bytes as the backend or issuer knows them.
    public let bytes: [UInt8]

    /// Wraps the bytes of a secret.
    public init(bytes: [UInt8]) {
        self.bytes = bytes
    }

    /// A placeholder.
    public var description: String { "<secret>" }
    /// A placeholder.
    public var debugDescription: String { "<secret>" }
    /// No children: nothing for `dump` to show.
    public var customMirror: Mirror { Mirror(self, children: [Mirror.Child]()) }
}
