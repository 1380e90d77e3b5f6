internal import Bytes
internal import JOSE

/// What each upstream gets as `Authorization`, ready to be written.
struct UpstreamAuthorizationTable: ~Copyable {
    /// How one upstream is served.
    enum Mode: BitwiseCopyable {
        case remove
        case forward
        /// A whole line, as a range of the table's text.
        case line(ByteRange)
        /// The mint with that number.
        case mint(Int)

        var isForward: Bool {
            if case .forward = self { true } else { false }
        }
    }

    private var modes: FixedArray<Mode>
    private var preserving: FixedArray<Bool>
    private var text = ByteArray()
    /// The mints, in the order of the upstreams that have one.
    private var mints: Slab<Mint>

    init(_ specs: [UpstreamPolicySpec]) throws(PolicyError) {
        modes = FixedArray(capacity: max(specs.count, 1))
        preserving = FixedArray(capacity: max(specs.count, 1))
        mints = Slab(capacity: max(specs.count, 1))
        for (index, spec) in specs.enumerated() {
            _ = preserving.append(spec.preserveHost)
            switch spec.authorization {
            case .remove: _ = modes.append(.remove)
            case .forward: _ = modes.append(.forward)
            case .bearer(let token):
                guard !token.isEmpty, token.allSatisfy(ASCII.isVisible) else {
                    throw .badBearer(upstream: index)
                }
                let start = text.count
                text.append("Authorization: Bearer ")
                text.append(token.span)
                text.append("\r\n")
                _ = modes.append(.line(text.range(since: start)))
            case .mint(let mint):
                _ = modes.append(.mint(Int(mints.insert(try Self.mint(mint, index)).index)))
            }
        }
    }

    /// How the upstream is served.
    func mode(_ upstream: Int) -> Mode { modes[upstream] }

    /// True where the upstream gets the client's Host.
    func preservesHost(_ upstream: Int) -> Bool { preserving[upstream] }

    /// The whole line with CRLF.
    @_lifetime(borrow self)
    func line(_ range: ByteRange) -> Span<UInt8> { text.span(range) }

    /// Mints for the subject of the entry, unless that was done lately; false where the system failed.
    mutating func refresh(_ entry: inout VerifiedTokenEntry, mint: Int, now: Int64) -> Bool {
        entry.refresh(&mints[UInt32(mint)], number: mint, now: now)
    }

    private static func mint(_ spec: MintSpec, _ upstream: Int) throws(PolicyError) -> Mint {
        do throws(SigningError) {
            return Mint(minter: try TokenMinter(spec), freshSeconds: spec.lifetimeSeconds / 2)
        } catch {
            throw .mint(upstream: upstream, error)
        }
    }
}

/// What makes tokens for one upstream.
struct Mint: ~Copyable {
    var minter: TokenMinter
    /// For how long a minted token is used again, in seconds: half of its life.
    let freshSeconds: Int64

    /// Adds the whole line `Authorization: Bearer …` with CRLF, for a token minted at `now`; false where OpenSSL
    /// failed.
    mutating func append(subject: Span<UInt8>, now: Int64, to output: inout ByteArray) -> Bool {
        guard minter.mint(subject: subject, now: now) else { return false }
        output.append("Authorization: Bearer ")
        output.append(minter.token)
        output.append("\r\n")
        return true
    }
}
