// swift-format-ignore-file: AlwaysUseLowerCamelCase
public import CPleat
internal import Inference

// The functions of pleat.h about contexts, likewise.

/// Creates an empty text.
@c @implementation
public func pleat_context_open(
  _ model: OpaquePointer?, _ capacity: Int, _ threadCount: Int,
  _ context: UnsafeMutablePointer<OpaquePointer?>?, _ error: UnsafeMutablePointer<pleat_error>?
) -> pleat_status {
  unsafe opening("context", context, to: error) { () throws(ModelError) in
    let model = try unsafe Handles.model(model)
    try checkSize(capacity, "capacity")
    try checkSize(threadCount, "thread_count")
    return .context(
      try SharedContext(
        of: model, capacity: capacity, threadCount: threadCount == 0 ? nil : threadCount))
  }
}

/// Closes a context.
@c @implementation
public func pleat_context_close(
  _ context: OpaquePointer?, _ error: UnsafeMutablePointer<pleat_error>?
) -> pleat_status {
  unsafe reporting(to: error) { () throws(ModelError) in
    if unsafe context != nil { try unsafe Handles.removeContext(context) }
    return nil
  }
}

/// The number of tokens of a text.
@c @implementation
public func pleat_context_length(_ context: OpaquePointer?) -> Int {
  let shared = try? unsafe Handles.context(context)
  return (try? shared?.use { (context) throws(ModelError) in context.tokenCount }) ?? 0
}

/// Adds tokens to a text, and computes logits.
@c @implementation
public func pleat_context_append(
  _ context: OpaquePointer?, _ tokens: UnsafePointer<pleat_token>?, _ count: Int,
  _ logits: UnsafeMutablePointer<Float>?, _ logitCount: Int,
  _ error: UnsafeMutablePointer<pleat_error>?
) -> pleat_status {
  unsafe reporting(to: error) { () throws(ModelError) in
    let shared = try unsafe Handles.context(context)
    guard let tokens = unsafe tokens else { throw .isNull("tokens") }
    guard unsafe logitCount == 0 || logits != nil else { throw .isNull("logits") }
    try checkSize(count, "count")
    try checkSize(logitCount, "logit_count")
    try shared.use { (context) throws(ModelError) in
      let size = context.model.vocabularySize
      guard logitCount.isMultiple(of: size) else {
        throw ModelError(
          .usage, "logits are rows as long as the vocabulary", tensor: "logit_count",
          expected: "a multiple of \(size)", found: "\(logitCount)")
      }
      try context.checkRoom(for: count)
      // There are as many tokens, as the caller states.
      let added = unsafe Array(UnsafeBufferPointer(start: tokens, count: count))
      let result = try context.append(added, logitsOfLast: logitCount / size)
      guard let logits = unsafe logits else { return }
      for row in 0..<result.rowCount {
        result.withRow(row) { numbers in
          unsafe numbers.withUnsafeBufferPointer { numbers in
            guard let start = numbers.baseAddress else { return }
            // There is room for `logitCount` numbers, as the caller states.
            unsafe (logits + row * size).update(from: start, count: size)
          }
        }
      }
    }
    return nil
  }
}

/// Removes the last tokens of a text.
@c @implementation
public func pleat_context_truncate(
  _ context: OpaquePointer?, _ length: Int, _ error: UnsafeMutablePointer<pleat_error>?
) -> pleat_status {
  unsafe reporting(to: error) { () throws(ModelError) in
    try checkSize(length, "length")
    try unsafe Handles.context(context).use { (context) throws(ModelError) in
      try context.truncate(to: length)
    }
    return nil
  }
}
