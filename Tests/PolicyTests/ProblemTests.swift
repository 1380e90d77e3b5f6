import Bytes
import HTTP
import Testing

@testable import Policy

@Suite("The proxy's own answers")
struct ProblemTests {
    private func body(_ code: ReasonCode) -> String {
        var pool = BlockPool(keptBytes: 0)
        var buffer = Buffer()
        buffer.attach(from: &pool)
        defer { buffer.detach(to: &pool) }
        return Problem.append(code, to: &buffer) ? text(buffer.bytes) : ""
    }

    @Test(
        "are problem+json with the code, the status and a sentence",
        arguments: ReasonCode.allCases.filter { $0.status > 0 })
    func bodies(code: ReasonCode) {
        let body = body(code)
        // With `denied = 404` the client is told what it is told where there is no route.
        let shown = code == .notFound ? ReasonCode.noRoute : code
        #expect(body.utf8.count == Problem.byteCount(code))
        #expect(body.utf8.count <= Problem.maximumByteCount)
        #expect(body.contains(#""code":"\#(shown.text)""#))
        #expect(body.contains(#""status":\#(code.status),"#))
        #expect(body.hasPrefix(#"{"type":"urn:problem-type:usher:\#(shown.text)","title":""#))
        #expect(body.hasSuffix("\"}\n"))
        // Five members: ten names and strings but for the number, two quotes each, and none escaped.
        #expect(body.count { $0 == "\"" } == 18)
        #expect(!body.contains("\\"))
        #expect(!body.contains(#""title":"","#) && !body.contains(#""detail":"","#))
    }

    @Test("whoever asks for another's or for nothing at all gets the same 404")
    func notFound() {
        #expect(Problem.detail(.noRoute).description == Problem.detail(.notFound).description)
    }

    @Test(
        "who may not ask at all is told nothing of a token, and who bears an opaque one nothing of a session")
    func whoIsMeant() {
        #expect(!Problem.detail(.forbidden).description.contains("token"))
        #expect(!ReasonCode.authenticationUnavailable.title.description.contains("session"))
    }

    @Test("does not write what does not fit")
    func room() {
        var buffer = Buffer()
        let isWritten = Problem.append(.noRoute, to: &buffer)
        #expect(!isWritten)
    }
}
