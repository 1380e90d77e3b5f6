// A parse error is a value here: with TOML_EXCEPTIONS=0 toml++ returns it.
#define TOML_EXCEPTIONS 0
#define TOML_ENABLE_FORMATTERS 0
// `[.a]` breaks an assumption of toml++ that is checked right behind it: as an assertion it would end the process, and
// with NDEBUG it is undefined behaviour. It is nothing here.
#undef NDEBUG
#define TOML_ASSERT(expression) static_assert(true)
#include <toml++/toml.h>

#include "CTOML.h"

#include <algorithm>
#include <new>
#include <string>
#include <vector>

struct ctoml_document {
    toml::parse_result result;
    std::string error;
    ctoml_position error_position{0, 0};
    std::vector<ctoml_node> nodes;
};

namespace {

// toml++ bounds the nesting of values, but not of dotted keys; a configuration needs five levels.
constexpr int maximum_depth = 64;
constexpr const char *too_deep = "tables and arrays are nested more than 64 deep";

ctoml_position position(const toml::source_position &place) { return {place.line, place.column}; }

ctoml_text text(std::string_view view) { return {view.data(), view.size()}; }

ctoml_node describe(const toml::node &source) {
    ctoml_node node{};
    node.begin = position(source.source().begin);
    node.end = position(source.source().end);
    switch (source.type()) {
    case toml::node_type::table:
        node.kind = CTOML_TABLE;
        node.child_count = source.as_table()->size();
        break;
    case toml::node_type::array:
        node.kind = CTOML_ARRAY;
        node.child_count = source.as_array()->size();
        break;
    case toml::node_type::string:
        node.kind = CTOML_STRING;
        node.string = text(source.as_string()->get());
        break;
    case toml::node_type::integer:
        node.kind = CTOML_INTEGER;
        node.integer = source.as_integer()->get();
        break;
    case toml::node_type::floating_point:
        node.kind = CTOML_FLOAT;
        node.number = source.as_floating_point()->get();
        break;
    case toml::node_type::boolean:
        node.kind = CTOML_BOOLEAN;
        node.boolean = source.as_boolean()->get();
        break;
    default:
        node.kind = CTOML_DATE_TIME;
    }
    return node;
}

// Appends the node and all below it; false when the tree is too deep.
bool flatten(ctoml_document &document, const toml::node &source, const toml::key *key, int depth) {
    if (depth > maximum_depth) {
        document.error = too_deep;
        document.error_position = position(source.source().begin);
        return false;
    }
    ctoml_node node = describe(source);
    if (key != nullptr) {
        node.key = text(key->str());
        node.key_begin = position(key->source().begin);
    }
    document.nodes.push_back(node);
    if (const toml::table *table = source.as_table()) {
        for (auto entry = table->cbegin(); entry != table->cend(); ++entry)
            if (!flatten(document, entry->second, &entry->first, depth + 1)) return false;
    } else if (const toml::array *array = source.as_array()) {
        for (const toml::node &element : *array)
            if (!flatten(document, element, nullptr, depth + 1)) return false;
    }
    return true;
}

// The last byte of the string that begins there; where it does not end, that of its line or of the text: no TOML.
size_t end_of_string(std::string_view source, size_t begin) {
    const char quote = source[begin];
    const std::string_view three = quote == '"' ? "\"\"\"" : "'''";
    const bool has_lines = source.substr(begin, 3) == three;
    for (size_t place = begin + (has_lines ? 3 : 1); place < source.size(); place++) {
        if (source[place] == '\\' && quote == '"') {
            place++;
        } else if (has_lines && source.substr(place, 3) == three) {
            // Up to two quotes more are the last of the content.
            size_t end = place + 2;
            for (int more = 0; more < 2 && end + 1 < source.size() && source[end + 1] == quote; more++) end++;
            return end;
        } else if (!has_lines && source[place] == quote) {
            return place;
        } else if (!has_lines && source[place] == '\n') {
            return place - 1;
        }
    }
    return source.size();
}

ctoml_position position(std::string_view source, size_t place) {
    ctoml_position found{1, 1};
    for (char byte : source.substr(0, place)) {
        if (byte == '\n') found = {found.line + 1, 1};
        else if ((byte & 0xC0) != 0x80) found.column++;
    }
    return found;
}

// Where a text that has not been parsed goes deeper than any that is taken; its size where it does not. toml++ calls itself
// for each level of what it has parsed, if only to free it: a key of 80,000 parts ends with the stack.
//
// Outside strings and comments a dot is that of a key, but for one in a number or a time. So this counts a few levels more
// than there are, and lets twice as many pass: `flatten` counts exactly.
size_t end_of_shallow(std::string_view source) {
    std::vector<int> outer; // the levels around each bracket that is open
    int depth = 0;          // those around what is read
    int key = 0;            // the dots of the key whose value is read
    int dots = 0;
    for (size_t place = 0; place < source.size(); place++) {
        switch (source[place]) {
        case '"':
        case '\'': place = end_of_string(source, place); break;
        case '#': place = std::min(source.find('\n', place), source.size()) - 1; break;
        case '.': dots++; break;
        case '=':
            key = dots;
            dots = 0;
            break;
        case '[':
        case '{':
            outer.push_back(depth);
            depth += key + 1;
            key = dots = 0;
            break;
        case ']':
        case '}':
            if (!outer.empty()) {
                depth = outer.back();
                outer.pop_back();
            }
            key = dots = 0;
            break;
        case ',':
        case '\n': key = dots = 0; break;
        default: break;
        }
        if (depth + dots > 2 * maximum_depth) return place;
    }
    return source.size();
}

void parse(ctoml_document &document, const char *bytes, size_t size) {
    const std::string_view source{bytes, size};
    if (const size_t place = end_of_shallow(source); place < size) {
        document.error = too_deep;
        document.error_position = position(source, place);
        return;
    }
    document.result = toml::parse(source);
    if (document.result.failed()) {
        document.error = std::string{document.result.error().description()};
        document.error_position = position(document.result.error().source().begin);
    } else if (!flatten(document, document.result.table(), nullptr, 0)) {
        document.nodes.clear();
    }
}

} // namespace

ctoml_document *ctoml_parse(const char *bytes, size_t size) {
    ctoml_document *document = nullptr;
    try {
        document = new ctoml_document{};
        parse(*document, bytes, size);
        return document;
    } catch (...) { // only std::bad_alloc is left
        delete document;
        return nullptr;
    }
}

void ctoml_free(ctoml_document *document) { delete document; }

bool ctoml_failed(const ctoml_document *document) { return document->nodes.empty(); }

ctoml_text ctoml_error_message(const ctoml_document *document) { return text(document->error); }

ctoml_position ctoml_error_position(const ctoml_document *document) { return document->error_position; }

size_t ctoml_node_count(const ctoml_document *document) { return document->nodes.size(); }

ctoml_node ctoml_node_at(const ctoml_document *document, size_t index) { return document->nodes[index]; }
