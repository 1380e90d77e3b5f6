internal import Crypto

/// What the verifier reads of a JOSE header (RFC 7515 §4.1). `jku`, `jwk`, `x5u`, `x5c` and `zip` are never read
/// (rule J10): keys come from the issuer's configuration alone.
struct TokenHeader: BitwiseCopyable {
    let algorithm: SignatureAlgorithm
    /// The node of `kid` in the header's document, or -1.
    let keyID: Int32
    /// The node of `typ`, or -1.
    let type: Int32

    /// Reads the header; throws what in it no issuer would accept.
    init(_ document: borrowing JSONDocument) throws(TokenRefusal) {
        var (alg, kid, typ) = (-1, -1, -1)
        var next = document.firstChild(of: 0)
        while let name = next {
            let text = document.bytes(of: name)
            if text.count == 3 {
                switch (text[0], text[1], text[2]) {
                case (0x61, 0x6c, 0x67): alg = name + 1
                case (0x6b, 0x69, 0x64): kid = name + 1
                case (0x74, 0x79, 0x70): typ = name + 1
                case (0x62, 0x36, 0x34): throw .criticalHeader  // b64
                default: break
                }
            } else if text.count == 4, text[0] == 0x63, text[1] == 0x72, text[2] == 0x69, text[3] == 0x74 {
                throw .criticalHeader  // crit
            }
            next = document.sibling(after: name + 1, in: 0)
        }
        guard alg >= 0, document.node(alg).kind == .string,
            let algorithm = SignatureAlgorithm(name: document.bytes(of: alg))
        else { throw .algorithmNotAllowed }
        guard kid < 0 || document.node(kid).kind == .string else { throw .malformed }
        guard typ < 0 || document.node(typ).kind == .string else { throw .wrongType }
        self.algorithm = algorithm
        keyID = Int32(truncatingIfNeeded: kid)
        type = Int32(truncatingIfNeeded: typ)
    }
}

/// The two dots of a compact token (RFC 7515 §7.1).
struct CompactToken: BitwiseCopyable {
    /// The offset of the dot behind the header.
    let headerEnd: Int
    /// The offset of the dot behind the payload: in front of it is what is signed.
    let payloadEnd: Int

    /// nil unless there are exactly three parts, none of them empty.
    init?(_ token: Span<UInt8>) {
        var first = -1
        var second = -1
        var index = 0
        while index < token.count {
            if token[index] == 0x2e {
                guard second < 0 else { return nil }
                if first < 0 { first = index } else { second = index }
            }
            index &+= 1
        }
        guard first > 0, second > first + 1, second + 1 < token.count else { return nil }
        headerEnd = first
        payloadEnd = second
    }
}
