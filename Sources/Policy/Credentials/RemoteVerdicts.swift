internal import Bytes
internal import Crypto
internal import HTTP
internal import JOSE

// Some credentials cannot be judged by what they say: a server has to be asked, such as Better Auth's get-session or
// an introspection endpoint (RFC 7662). Here is what is known of the answers; asking and waiting are for others.

/// A server that judges credentials, as the policy knows it.
public struct RemoteSourceSpec: Sendable, Equatable {
    /// Whose credentials it judges.
    public enum Owner: Sendable, Equatable {
        /// Those of a session, a place in `PolicySpec.sessions`.
        case session(Int)
        /// Those of an issuer, a place in `PolicySpec.issuers`.
        case issuer(Int)
    }

    /// The name by which the control thread knows it.
    public var name: String
    /// Whose credentials it judges.
    public var owner: Owner
    /// How long an accepted credential is not asked about again, in seconds; at least 1.
    public var cacheForSeconds: Int64
    /// Another one whenever the server, or how it is asked, has changed: answers to questions with another stamp are
    /// dropped.
    public var stamp: UInt64 = 0

    /// The server of that name.
    public init(name: String, owner: Owner, cacheForSeconds: Int64) {
        self.name = name
        self.owner = owner
        self.cacheForSeconds = cacheForSeconds
    }
}

/// Which credential a question and its answer are about: equal only where every byte is.
public struct RemoteKey: Sendable, Hashable {
    /// The name of the server.
    public let source: String
    /// The stamp of its settings.
    public let stamp: UInt64
    /// What the verdict is remembered under.
    public let credential: [UInt8]

    /// The key of that credential.
    public init(source: String, stamp: UInt64, credential: [UInt8]) {
        self.source = source
        self.stamp = stamp
        self.credential = credential
    }
}

/// What a server is asked about one credential.
public struct RemoteQuestion: Sendable {
    /// How the credential is shown to the server.
    public enum Form: Sendable {
        /// As the value of a `Cookie` field.
        case cookies
        /// As a bearer token.
        case bearer
        /// As the parameter `token` (RFC 7662 §2.1).
        case token
    }

    /// What it is about.
    public let key: RemoteKey
    /// How the credential is shown.
    public let form: Form
    /// What is shown: visible ASCII and spaces.
    public let text: [UInt8]
    /// The address of whoever sent the credential; empty where nobody knows.
    public let clientAddress: String

    /// A question about `key`.
    public init(key: RemoteKey, form: Form, text: [UInt8], clientAddress: String) {
        self.key = key
        self.form = form
        self.text = text
        self.clientAddress = clientAddress
    }
}

/// What came back.
public struct RemoteAnswer: Sendable {
    /// The verdict.
    public enum Result: Sendable, Equatable {
        /// The credential is good; the claims are in this JSON object, which is not looked at yet.
        case accepted([UInt8])
        /// It is not, or no longer.
        case refused
        /// Nobody could tell.
        case unavailable
    }

    /// What it is about.
    public let key: RemoteKey
    /// The verdict.
    public let result: Result
    /// The values of `Set-Cookie` fields for whoever sent the credential.
    public let setCookies: [[UInt8]]

    /// The answer to a question about `key`.
    public init(key: RemoteKey, result: Result, setCookies: [[UInt8]] = []) {
        self.key = key
        self.result = result
        self.setCookies = setCookies
    }
}

/// Why a credential is not accepted, as far as a server was asked.
enum Denial: BitwiseCopyable {
    /// The server said no.
    case refused
    /// The server said nothing.
    case unavailable
    /// The server said nothing that makes sense.
    case unusable

    /// What becomes of the request.
    var outcome: Authenticated {
        switch self {
        case .refused: .refused(.tokenInvalid, .inactive)
        case .unavailable: .refused(.authenticationUnavailable, nil)
        case .unusable: .refused(.authenticationUnavailable, .unusableAnswer)
        }
    }
}

/// The servers of one snapshot, the question that it has, and the answers that were no verdict to keep for long.
struct RemoteVerdicts: ~Copyable {
    /// Signing out and in again makes another credential, so that a no may be remembered for a while, in seconds.
    private static var refusalSeconds: Int64 { 5 }
    /// A server that could not answer may do so a moment later, in seconds.
    private static var unavailableSeconds: Int64 { 1 }
    /// What is remembered of denials: a flood of bad credentials has all of them forgotten, and costs the server
    /// questions, whose number is bounded elsewhere.
    private static var denialCount: Int { 4096 }

    private struct Entry {
        let denial: Denial
        let from: Int64
        let until: Int64
    }

    let sources: [RemoteSourceSpec]
    private var denials: [SHA256Digest: Entry] = [:]
    private var digest = SHA256()
    private var question: RemoteQuestion?

    init(_ sources: [RemoteSourceSpec]) {
        self.sources = sources
    }

    /// The place of the server that the answer came from, as it is asked now.
    func source(of key: RemoteKey) -> Int? {
        sources.firstIndex { $0.name == key.source && $0.stamp == key.stamp }
    }

    /// Leaves a question for `takeQuestion`.
    mutating func ask(
        _ source: Int, _ credential: Span<UInt8>, as form: RemoteQuestion.Form, _ text: Span<UInt8>,
        for clientAddress: String
    ) {
        let key = RemoteKey(
            source: sources[source].name, stamp: sources[source].stamp, credential: Self.copy(credential))
        question = RemoteQuestion(key: key, form: form, text: Self.copy(text), clientAddress: clientAddress)
    }

    /// The question that the last decision has.
    mutating func takeQuestion() -> RemoteQuestion? {
        defer { question = nil }
        return question
    }

    /// What is known against a credential at that server.
    mutating func denial(_ source: Int, _ credential: Span<UInt8>, now: Int64) -> Denial? {
        guard !denials.isEmpty, let entry = denials[name(source, credential)], entry.from <= now,
            now < entry.until
        else { return nil }
        return entry.denial
    }

    /// Remembers for a moment that a credential was not accepted.
    mutating func deny(_ denial: Denial, _ source: Int, _ credential: Span<UInt8>, now: Int64) {
        if denials.count >= Self.denialCount {
            denials = denials.filter { now < $0.value.until }
            if denials.count >= Self.denialCount { denials.removeAll(keepingCapacity: true) }
        }
        let seconds =
            denial == .refused
            ? min(Self.refusalSeconds, sources[source].cacheForSeconds) : Self.unavailableSeconds
        denials[name(source, credential)] = Entry(denial: denial, from: now, until: now + seconds)
    }

    /// A digest of the credential and the place of the server: verdicts of two servers never meet (J5).
    private mutating func name(_ source: Int, _ credential: Span<UInt8>) -> SHA256Digest {
        var bytes = ByteArray()
        bytes.append(UInt8(truncatingIfNeeded: source))
        bytes.append(credential)
        return digest.hash(bytes.span)
    }

    /// What stands for a credential on the streams that it permits, also after the settings were read again; never 0.
    mutating func mark(_ source: Int, _ credential: Span<UInt8>) -> UInt64 {
        var bytes = ByteArray()
        for byte in sources[source].name.utf8 { bytes.append(byte) }
        bytes.append(0)
        bytes.append(credential)
        return digest.hash(bytes.span).words.0 | 1
    }

    private static func copy(_ bytes: Span<UInt8>) -> [UInt8] { bytes.indices.map { bytes[$0] } }
}

extension PolicySnapshot {
    /// The question that a decision `awaitVerdict` has; once.
    public mutating func takeQuestion() -> RemoteQuestion? { remotes.takeQuestion() }

    /// Takes in an answer: whoever waits for it is decided on again. Answers to the questions of other settings are
    /// nothing to this snapshot.
    ///
    /// - Returns: After a no, the mark of the streams that must end: see `PermittingKey.mark`.
    @discardableResult
    public mutating func note(_ answer: RemoteAnswer, now: Int64) -> UInt64? {
        guard let source = remotes.source(of: answer.key) else { return nil }
        let credential = answer.key.credential
        let denial: Denial? =
            switch answer.result {
            case .refused: .refused
            case .unavailable: .unavailable
            case .accepted(let claims): accept(claims, credential, source, now: now)
            }
        guard let denial else { return nil }
        remotes.deny(denial, source, credential.span, now: now)
        guard denial == .refused else { return nil }
        // A yes of before would be found first.
        cache.removeAll(credential.span, IssuerSet(index: place(of: remotes.sources[source].owner)))
        return remotes.mark(source, credential.span)
    }

    /// Under which place the verdicts about somebody's credentials are remembered.
    private func place(of owner: RemoteSourceSpec.Owner) -> Int {
        switch owner {
        case .session(let session): sessionPlaces.place(session)
        case .issuer(let issuer): issuer
        }
    }

    /// Remembers what the server said of a good credential; why not, where it does not hold.
    private mutating func accept(_ claims: [UInt8], _ credential: [UInt8], _ source: Int, now: Int64)
        -> Denial?
    {
        switch remotes.sources[source].owner {
        case .session(let session): acceptSession(session, claims, credential, source, now: now)
        case .issuer(let issuer): acceptToken(issuer, claims, credential, source, now: now)
        }
    }
}
