// swift-format-ignore-file: AlwaysUseLowerCamelCase
public import CPleat
internal import Inference

// The functions of pleat.h about models. They have their names in C, since the compiler compares them
// with the header. Pointers are nil or valid, as far as the caller keeps what the header asks for.

/// Opens a model.
@c @implementation
public func pleat_model_open(
  _ path: UnsafePointer<CChar>?, _ memoryByteCount: Int,
  _ model: UnsafeMutablePointer<OpaquePointer?>?, _ error: UnsafeMutablePointer<pleat_error>?
) -> pleat_status {
  unsafe opening("model", model, to: error) { () throws(ModelError) in
    guard let path = unsafe path else { throw .isNull("path") }
    try checkSize(memoryByteCount, "memory_byte_count")
    return .model(
      try LanguageModel.open(
        unsafe String(cString: path),
        memoryByteCount: memoryByteCount == 0
          ? LanguageModel.defaultMemoryByteCount : memoryByteCount))
  }
}

/// Closes a model.
@c @implementation
public func pleat_model_close(
  _ model: OpaquePointer?, _ error: UnsafeMutablePointer<pleat_error>?
) -> pleat_status {
  unsafe reporting(to: error) { () throws(ModelError) in
    if unsafe model != nil { try unsafe Handles.removeModel(model) }
    return nil
  }
}

/// The number of logits of a token.
@c @implementation
public func pleat_vocabulary_size(_ model: OpaquePointer?) -> Int {
  (try? unsafe Handles.model(model))?.vocabularySize ?? 0
}

/// The number of positions that a model was trained for.
@c @implementation
public func pleat_trained_length(_ model: OpaquePointer?) -> Int {
  (try? unsafe Handles.model(model))?.trainedLength ?? 0
}

/// Whether a token ends texts or turns.
@c @implementation
public func pleat_ends_text(_ model: OpaquePointer?, _ token: pleat_token) -> CInt {
  (try? unsafe Handles.model(model))?.endTokens.contains(token) == true ? 1 : 0
}

/// The tokens of a text.
@c @implementation
public func pleat_tokenize(
  _ model: OpaquePointer?, _ text: UnsafePointer<CChar>?, _ byteCount: Int,
  _ tokens: UnsafeMutablePointer<pleat_token>?, _ capacity: Int,
  _ count: UnsafeMutablePointer<Int>?, _ error: UnsafeMutablePointer<pleat_error>?
) -> pleat_status {
  unsafe reporting(to: error) { () throws(ModelError) in
    let model = try unsafe Handles.model(model)
    let bytes = try unsafe bytes(of: text, count: byteCount)
    return try unsafe copy(try model.tokenize(bytes), "tokens", to: tokens, capacity, count)
  }
}

/// The tokens of a conversation.
@c @implementation
public func pleat_tokenize_chat(
  _ model: OpaquePointer?, _ messages: UnsafePointer<pleat_message>?, _ messageCount: Int,
  _ date: UnsafePointer<CChar>?, _ tokens: UnsafeMutablePointer<pleat_token>?, _ capacity: Int,
  _ count: UnsafeMutablePointer<Int>?, _ error: UnsafeMutablePointer<pleat_error>?
) -> pleat_status {
  unsafe reporting(to: error) { () throws(ModelError) in
    let model = try unsafe Handles.model(model)
    guard let messages = unsafe messages else { throw .isNull("messages") }
    try checkSize(messageCount, "message_count")
    var conversation: [ChatMessage] = []
    for index in 0..<messageCount {
      // There are as many messages, as the caller states, and their texts end in 0.
      let message = unsafe messages[index]
      guard let role = unsafe message.role else { throw .isNull("messages[\(index)].role") }
      guard let content = unsafe message.content else {
        throw .isNull("messages[\(index)].content")
      }
      conversation.append(
        unsafe ChatMessage(role: String(cString: role), content: String(cString: content)))
    }
    let day = unsafe date.map { unsafe String(cString: $0) }
    return try unsafe copy(
      try model.tokenize(conversation, date: day), "tokens", to: tokens, capacity, count)
  }
}

/// The bytes of the text of a token.
@c @implementation
public func pleat_token_text(
  _ model: OpaquePointer?, _ token: pleat_token, _ bytes: UnsafeMutablePointer<CChar>?,
  _ capacity: Int, _ count: UnsafeMutablePointer<Int>?, _ error: UnsafeMutablePointer<pleat_error>?
) -> pleat_status {
  unsafe reporting(to: error) { () throws(ModelError) in
    let text = try unsafe Handles.model(model).bytes(of: token)
    return try unsafe copy(
      text.map { CChar(truncatingIfNeeded: $0) }, "bytes", to: bytes, capacity, count)
  }
}
