internal import Bytes
internal import HTTP
internal import HTTP1
internal import Policy

// Answers of the proxy's own that are for browsers, not problems: to a preflight, and on the way to a sign-in page.

extension Worker {
    /// Writes such an answer; false where it does not fit.
    mutating func appendBrowserReply(
        _ exchange: UInt32, _ client: UInt32, _ rejection: Rejection?
    ) -> Bool {
        guard let rejection, clients[client].transport.output.appendStatusLine(rejection.status) else {
            return false
        }
        return appendBrowserFields(exchange, client, rejection)
            && exchanges[exchange].appendOwnFields(
                date: dateField, clients[client].strictTransportSecurity,
                to: &clients[client].transport.output)
            && clients[client].transport.output.append("\r\n")
    }

    private mutating func appendBrowserFields(
        _ exchange: UInt32, _ client: UInt32, _ rejection: Rejection
    ) -> Bool {
        switch rejection.form {
        case .preflight:
            return policy.appendPreflight(rejection, to: &clients[client].transport.output)
        case .signIn:
            return clients[client].transport.output.append("Content-Length: 0\r\nCache-Control: no-store\r\n")
                && exchanges[exchange].appendLocation(
                    rejection, policy, to: &clients[client].transport.output)
                && appendAddedFields(exchange, client)
        case .problem:
            return false
        }
    }
}

extension Exchange {
    /// Writes where the browser goes, and what it comes back to.
    mutating func appendLocation(
        _ rejection: Rejection, _ policy: borrowing PolicySnapshot, to output: inout Buffer
    ) -> Bool {
        policy.appendSignIn(rejection, path: notes.text(notes.returnPath), to: &output)
    }
}
