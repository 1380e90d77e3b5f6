import Bytes
import Testing

@testable import JOSE

@Suite("What an introspected token is for")
struct TokenUseTests {
    private static let names = ["token_use", "token_usage", "token_type", "typ"]

    private func isAccess(_ answer: String) throws -> Bool {
        var document = JSONDocument(capacity: 1024, limits: .token)
        let isRead = document.load(Array(answer.utf8).span)
        try #require(isRead, "\(answer)")
        return TokenUse.isAccess(document)
    }

    @Test(
        "tokens that are for the issuer or a client alone are refused",
        arguments: [
            "refresh", "Refresh", "refresh_token", "refresh-token", "RefreshToken", "REFRESH_TOKEN",
            "refresh+jwt",
            "refresh_token+JWT", "urn:ietf:params:oauth:token-type:refresh_token", ":refresh",
            "a:b:Refresh-Token",
            "offline", "Offline", "offline_token", "id", "ID", "id_token", "IDToken", "id-token+jwt",
            "urn:ietf:params:oauth:token-type:id_token", "logout", "Logout", "logout+jwt", "logout_token",
            "authorization_code", "urn:ietf:params:oauth:token-type:device_code",
        ])
    func refused(word: String) throws {
        for name in Self.names {
            #expect(try !isAccess(#"{"active":true,"\#(name)":"\#(word)"}"#), "\(name)")
        }
    }

    @Test(
        "any other word says nothing",
        arguments: [
            "access", "access_token", "Access_Token", "accesstoken", "at+jwt", "JWT", "+jwt", "Bearer",
            "DPoP", "N_A",
            "user", "code", "", ":", "token", "_token", "token+jwt", "refresh_", "refresh_token:",
            "refresh_token:access",
            "refreshed", "unrefresh", "re:fresh:x", "identity", "grid", "refresh__token", "refresh+jwt+jwt",
            "urn:ietf:params:oauth:token-type:access_token", "réfresh",
        ])
    func accepted(word: String) throws {
        for name in Self.names {
            #expect(try isAccess(#"{"active":true,"\#(name)":"\#(word)"}"#), "\(name)")
        }
    }

    @Test("each of the members counts, and only as a string")
    func members() throws {
        #expect(
            try !isAccess(#"{"token_use":"access","token_usage":"access","token_type":"Bearer","typ":"ID"}"#))
        #expect(try !isAccess(#"{"token_use":5,"typ":"Refresh"}"#))
        #expect(try isAccess(#"{"token_use":["refresh"],"typ":null,"token_type":{"typ":"ID"},"Typ":"ID"}"#))
        #expect(try isAccess("{}"))
    }
}
