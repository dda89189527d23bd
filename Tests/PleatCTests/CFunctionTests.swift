import CPleat
import Inference
import PleatC
import TestSupport
import Testing

/// The functions of `pleat.h`, called as a C program does.
@Suite struct CFunctionTests {
  private static let text: [pleat_token] = (0..<20).map { ($0 * 977 + 31) % 4096 }

  /// Keeps handles of tinylm, which are closed at the end.
  private final class Session {
    var model: OpaquePointer?
    var context: OpaquePointer?

    init(capacity: Int = 24) throws {
      try #require(pleat_model_open(Fixtures.path("tinylm"), 0, &model, nil) == PLEAT_OK)
      try #require(pleat_context_open(model, capacity, 1, &context, nil) == PLEAT_OK)
    }

    deinit {
      pleat_context_close(context, nil)
      pleat_model_close(model, nil)
    }
  }

  private static func message(_ error: pleat_error) -> String {
    withUnsafeBytes(of: error.message) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
  }

  /// Expects a status, the same in the error, and a text that contains a part.
  private func expect(
    _ status: pleat_status, _ part: String,
    _ call: (UnsafeMutablePointer<pleat_error>?) -> pleat_status
  ) {
    var error = pleat_error()
    #expect(call(&error) == status, "\(Self.message(error))")
    #expect(error.status == status)
    let text = Self.message(error)
    #expect(status == PLEAT_OK ? text.isEmpty : text.contains(part), "\(text)")
    #expect(call(nil) == status)
  }

  private static func tokens(_ text: String, _ model: OpaquePointer?) -> [pleat_token] {
    var count = 0
    pleat_tokenize(model, text, text.utf8.count, nil, 0, &count, nil)
    var tokens = [pleat_token](repeating: -1, count: count)
    #expect(pleat_tokenize(model, text, text.utf8.count, &tokens, count, &count, nil) == PLEAT_OK)
    return tokens
  }

  @Test("the functions give what Inference gives") func results() throws {
    let session = try Session()
    let model = try LanguageModel.open(Fixtures.path("tinylm"))
    #expect(pleat_vocabulary_size(session.model) == 4096)
    #expect(pleat_trained_length(session.model) == 512)
    #expect(pleat_ends_text(session.model, 2) == 1 && pleat_ends_text(session.model, 3) == 0)
    let tokens = Self.tokens("def größe():\n", session.model)
    #expect(try tokens == model.tokenize("def größe():\n"))
    for token in tokens {
      var bytes = [CChar](repeating: 0, count: 64)
      var count = 0
      #expect(pleat_token_text(session.model, token, &bytes, 64, &count, nil) == PLEAT_OK)
      let found = bytes[..<count].map { UInt8(bitPattern: Int8($0)) }
      #expect(try found == model.bytes(of: token))
    }
    let context = try LanguageContext(of: model, capacity: 24)
    let expected = try context.append(Self.text, logitsOfLast: 20)
    var logits = [Float](repeating: .nan, count: 20 * 4096)
    expect(PLEAT_OK, "") { error in
      pleat_context_truncate(session.context, 0, error)
    }
    #expect(
      pleat_context_append(session.context, Self.text, 20, &logits, logits.count, nil) == PLEAT_OK)
    for row in 0..<20 {
      #expect(Array(logits[row * 4096..<(row + 1) * 4096]).bits == expected[row].bits)
    }
    #expect(pleat_context_length(session.context) == 20)
    expect(PLEAT_OK, "") { pleat_context_truncate(session.context, 19, $0) }
    var last = [Float](repeating: .nan, count: 4096)
    #expect(
      pleat_context_append(session.context, [Self.text[19]], 1, &last, 4096, nil) == PLEAT_OK)
    #expect(last.bits == expected[19].bits)
  }

  @Test("memory that is too small gets nothing, and the size is said") func shortages() throws {
    let session = try Session()
    let all = Self.tokens("def main():", session.model)
    var tokens = [pleat_token](repeating: -7, count: all.count)
    for capacity in [0, all.count - 1] {
      var count = 0
      expect(PLEAT_TOO_SMALL, "room for \(all.count), found room for \(capacity)") {
        pleat_tokenize(session.model, "def main():", 11, &tokens, capacity, &count, $0)
      }
      #expect(count == all.count && tokens.allSatisfy { $0 == -7 })
    }
    var bytes = [CChar](repeating: 7, count: 2)
    var count = 0
    expect(PLEAT_TOO_SMALL, "room for 3, found room for 2") {
      pleat_token_text(session.model, all[0], &bytes, 2, &count, $0)
    }
    #expect(count == 3 && bytes == [7, 7])
  }

  @Test("NULL is refused by every function that needs an address") func nothing() throws {
    let session = try Session()
    var model: OpaquePointer?
    var context: OpaquePointer?
    var count = 0
    var tokens: [pleat_token] = [1]
    var numbers = [Float](repeating: 0, count: 4096)
    expect(PLEAT_USAGE, "path: an argument is missing") { pleat_model_open(nil, 0, &model, $0) }
    expect(PLEAT_USAGE, "model: an") { pleat_model_open("tinylm", 0, nil, $0) }
    expect(PLEAT_USAGE, "memory_byte_count: a") { pleat_model_open("tinylm", -1, &model, $0) }
    expect(PLEAT_USAGE, "found NULL") { pleat_tokenize(nil, "a", 1, &tokens, 1, &count, $0) }
    expect(PLEAT_USAGE, "text: an") {
      pleat_tokenize(session.model, nil, 1, &tokens, 1, &count, $0)
    }
    expect(PLEAT_USAGE, "tokens: an") {
      pleat_tokenize(session.model, "a", 1, nil, 1, &count, $0)
    }
    expect(PLEAT_USAGE, "count: an") {
      pleat_tokenize(session.model, "a", 1, &tokens, 1, nil, $0)
    }
    expect(PLEAT_USAGE, "found NULL") {
      pleat_tokenize_chat(nil, [pleat_message()], 1, nil, &tokens, 1, &count, $0)
    }
    expect(PLEAT_USAGE, "messages: an") {
      pleat_tokenize_chat(session.model, nil, 1, nil, &tokens, 1, &count, $0)
    }
    expect(PLEAT_USAGE, "messages[0].role: an") {
      pleat_tokenize_chat(session.model, [pleat_message()], 1, nil, &tokens, 1, &count, $0)
    }
    expect(PLEAT_USAGE, "there is no message") {
      pleat_tokenize_chat(session.model, [pleat_message()], 0, nil, &tokens, 1, &count, $0)
    }
    expect(PLEAT_USAGE, "message_count: a") {
      pleat_tokenize_chat(session.model, [pleat_message()], -1, nil, &tokens, 1, &count, $0)
    }
    expect(PLEAT_UNSUPPORTED, "the model has no chat template") { error in
      "user".withCString { role in
        pleat_tokenize_chat(
          session.model, [pleat_message(role: role, content: role)], 1, nil, &tokens, 1, &count,
          error)
      }
    }
    expect(PLEAT_USAGE, "found NULL") { pleat_token_text(nil, 1, nil, 0, &count, $0) }
    expect(PLEAT_USAGE, "count: an") { pleat_token_text(session.model, 1, nil, 0, nil, $0) }
    expect(PLEAT_USAGE, "bytes: an") { pleat_token_text(session.model, 1, nil, 1, &count, $0) }
    expect(PLEAT_USAGE, "found NULL") { pleat_context_open(nil, 1, 1, &context, $0) }
    expect(PLEAT_USAGE, "context: an") { pleat_context_open(session.model, 1, 1, nil, $0) }
    expect(PLEAT_USAGE, "found NULL") { pleat_context_append(nil, &tokens, 1, nil, 0, $0) }
    expect(PLEAT_USAGE, "tokens: an") {
      pleat_context_append(session.context, nil, 1, &numbers, 4096, $0)
    }
    expect(PLEAT_USAGE, "logits: an") {
      pleat_context_append(session.context, &tokens, 1, nil, 4096, $0)
    }
    expect(PLEAT_USAGE, "found NULL") { pleat_context_truncate(nil, 0, $0) }
    expect(PLEAT_OK, "") { pleat_model_close(nil, $0) }
    expect(PLEAT_OK, "") { pleat_context_close(nil, $0) }
    #expect(pleat_vocabulary_size(nil) == 0 && pleat_trained_length(nil) == 0)
    #expect(pleat_ends_text(nil, 2) == 0 && pleat_context_length(nil) == 0)
    #expect(model == nil && context == nil)
    // A text of no bytes needs no address.
    expect(PLEAT_OK, "") { pleat_tokenize(session.model, nil, 0, &tokens, 1, &count, $0) }
  }

  @Test("numbers out of range are refused, and the text stays as it was") func ranges() throws {
    let session = try Session(capacity: 4)
    let context = session.context
    var numbers = [Float](repeating: 7, count: 3 * 4096)
    func append(_ tokens: [pleat_token], _ count: Int, _ logitCount: Int, _ part: String) {
      expect(PLEAT_USAGE, part) {
        pleat_context_append(context, tokens, count, &numbers, logitCount, $0)
      }
      #expect(pleat_context_length(context) == 2 && numbers.allSatisfy { $0 == 7 })
    }
    #expect(pleat_context_append(context, [5, 6], 2, nil, 0, nil) == PLEAT_OK)
    append([4096], 1, 4096, "expected 0 to 4095, found 4096")
    append([-1], 1, 4096, "found -1")
    append([1, 2, 3], 3, 4096, "at most 2 more tokens, found 3")
    append([1], .max, 4096, "at most 2 more tokens")
    append([1], -1, 4096, "count: a size is too large")
    append([1], 0, 0, "there is no token to add")
    append([1], 1, 4095, "expected a multiple of 4096, found 4095")
    append([1], 1, 8192, "expected 0 to 1 rows, found 2")
    append([1], 1, -4096, "logit_count: a size is too large")
    expect(PLEAT_USAGE, "found 3") { pleat_context_truncate(context, 3, $0) }
    expect(PLEAT_USAGE, "length: a size") { pleat_context_truncate(context, -1, $0) }

    var count = 0
    for token: pleat_token in [-1, 4096, .min, .max] {
      expect(PLEAT_USAGE, "found \(token)") {
        pleat_token_text(session.model, token, nil, 0, &count, $0)
      }
      #expect(pleat_ends_text(session.model, token) == 0)
    }
    expect(PLEAT_USAGE, "byte_count: a size") {
      pleat_tokenize(session.model, "a", -1, nil, 0, &count, $0)
    }
    expect(PLEAT_USAGE, "capacity: a size") {
      pleat_tokenize(session.model, "a", 1, nil, -1, &count, $0)
    }
    var other: OpaquePointer?
    expect(PLEAT_USAGE, "found 0") { pleat_context_open(session.model, 0, 1, &other, $0) }
    expect(PLEAT_USAGE, "capacity: a") { pleat_context_open(session.model, -1, 1, &other, $0) }
    expect(PLEAT_USAGE, "thread_count: a") {
      pleat_context_open(session.model, 1, -1, &other, $0)
    }
    expect(PLEAT_LIMIT, "do not fit into memory") {
      pleat_context_open(session.model, .max, 1, &other, $0)
    }
    #expect(other == nil)
  }

  @Test("a handle that is closed, or of something else, is refused") func handles() throws {
    var model: OpaquePointer?
    var context: OpaquePointer?
    #expect(pleat_model_open(Fixtures.path("tinylm"), 0, &model, nil) == PLEAT_OK)
    #expect(pleat_context_open(model, 4, 1, &context, nil) == PLEAT_OK)
    expect(PLEAT_USAGE, "of something else") { pleat_context_truncate(model, 0, $0) }
    expect(PLEAT_USAGE, "of something else") { pleat_context_close(model, $0) }
    expect(PLEAT_USAGE, "of something else") { pleat_model_close(context, $0) }
    #expect(pleat_vocabulary_size(context) == 0 && pleat_context_length(model) == 0)
    let foreign = OpaquePointer(bitPattern: 0x7fff_1234_5670)
    expect(PLEAT_USAGE, "no model with this handle") { pleat_model_close(foreign, $0) }

    #expect(pleat_model_close(model, nil) == PLEAT_OK)
    // A context outlives the handle of its model.
    var logits = [Float](repeating: .nan, count: 4096)
    expect(PLEAT_USAGE, "that was closed") { pleat_model_close(model, $0) }
    #expect(pleat_context_append(context, [5], 1, &logits, 4096, nil) == PLEAT_OK)
    #expect(logits.allSatisfy { $0.isFinite })
    #expect(pleat_context_close(context, nil) == PLEAT_OK)
    expect(PLEAT_USAGE, "no context with this handle") {
      pleat_context_append(context, [5], 1, &logits, 4096, $0)
    }
    var count = 0
    expect(PLEAT_USAGE, "that was closed") { pleat_tokenize(model, "a", 1, nil, 0, &count, $0) }
    expect(PLEAT_USAGE, "that was closed") { pleat_context_open(model, 1, 1, &context, $0) }
    #expect(pleat_vocabulary_size(model) == 0 && pleat_context_length(context) == 0)
    var next: OpaquePointer?
    #expect(pleat_model_open(Fixtures.path("tinylm"), 0, &next, nil) == PLEAT_OK)
    #expect(next != model)
    #expect(pleat_model_close(next, nil) == PLEAT_OK)
  }

  @Test("errors of files have their status and a text that is cut between characters")
  func files() throws {
    let scratch = try Scratch()
    var model: OpaquePointer?
    let missing = scratch.path("missing.gguf")
    expect(PLEAT_IO, missing) { pleat_model_open(missing, 0, &model, $0) }
    let damaged = try scratch.write(Array("GGUF".utf8) + [3, 0, 0, 0, 1], as: "damaged.gguf")
    expect(PLEAT_MALFORMED, "damaged.gguf") { pleat_model_open(damaged, 0, &model, $0) }
    let bare = try scratch.write(Fixtures.bytes("tinylm/model.safetensors"), as: "bare.safetensors")
    expect(PLEAT_UNSUPPORTED, "config.json") { pleat_model_open(bare, 0, &model, $0) }
    expect(PLEAT_IO, "a\\u{a}b") { pleat_model_open("a\nb", 0, &model, $0) }
    var error = pleat_error()
    let long = "a" + String(repeating: "€", count: 600)
    #expect(pleat_model_open(long, 0, &model, &error) == PLEAT_IO)
    #expect(Self.message(error) == String(long.prefix(340)))
    #expect(model == nil)
  }
}
