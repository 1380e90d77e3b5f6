internal import Synchronization

/// A member that makes the compiler treat its owner by address alone.
///
/// A large value that is only borrowed is otherwise copied to the stack for the call, byte by byte, wherever it lies in
/// memory: for the policy that was 4 KB a request. An atomic cannot be copied like that, so nothing that holds one is.
/// Nobody reads this one.
public struct InPlace: ~Copyable, Sendable {
    private let cell = Atomic<UInt8>(0)

    /// The mark.
    public init() {}
}
