/// Where the registered claims (RFC 7519 §4.1, RFC 7800 §3.1) stand in a payload: node indices, -1 for absent.
struct RegisteredClaims: BitwiseCopyable {
    private(set) var issuer = -1
    private(set) var audience = -1
    private(set) var expires = -1
    private(set) var notBefore = -1
    private(set) var issuedAt = -1
    private(set) var confirmation = -1

    /// Finds them in one pass.
    init(_ document: borrowing JSONDocument) {
        var next = document.firstChild(of: 0)
        while let name = next {
            let text = document.bytes(of: name)
            if text.count == 3 {
                switch (text[0], text[1], text[2]) {
                case (0x69, 0x73, 0x73): issuer = name + 1
                case (0x61, 0x75, 0x64): audience = name + 1
                case (0x65, 0x78, 0x70): expires = name + 1
                case (0x6e, 0x62, 0x66): notBefore = name + 1
                case (0x69, 0x61, 0x74): issuedAt = name + 1
                case (0x63, 0x6e, 0x66): confirmation = name + 1
                default: break
                }
            }
            next = document.sibling(after: name + 1, in: 0)
        }
    }
}

/// A subject that can stand in a header (`Issuer.isSubject`), and the times of a token.
struct AcceptedClaims: BitwiseCopyable {
    let expires: Int64
    let notBefore: Int64?
    /// A fraction cut off.
    let issuedAt: Int64?
    let subject: Int32
    let binding: TokenBinding
}
