internal import CJSONC
package import TensorModel

/// Reads whole JSON documents (configurations, indexes, recipes) with json-c.
package enum JSONParser {
  /// The document in `bytes`.
  ///
  /// Read strictly first: json-c alone would accept single quotes and NaN, and keep the last of
  /// keys that repeat. Throws `malformed` with the offset of the mistake, and `limit`.
  package static func parse(
    _ bytes: [UInt8], file: String, limits: ReadLimits = ReadLimits()
  ) throws(ModelError) -> JSONValue {
    var scanner = try JSONScanner(bytes, file: file, offset: 0, limits: limits)
    try scanner.skip()
    try scanner.end()
    let text = marked(bytes, scanner.wideIntegerEnds)
    guard text.count < Int(Int32.max) else {
      throw ModelError(.limit, "the JSON text is too large", file: file)
    }
    // The tokener and the document are json-c's until they are given back where this ends; nothing
    // that points into them is returned.
    guard let tokener = unsafe json_tokener_new_ex(Int32(limits.nesting)) else {
      throw ModelError(.limit, "out of memory for JSON", file: file)
    }
    defer { unsafe json_tokener_free(tokener) }
    unsafe json_tokener_set_flags(tokener, JSON_TOKENER_STRICT)
    // The terminating zero tells json-c that a number at the very end is complete.
    let root = unsafe (text + [0]).withUnsafeBytes {
      unsafe json_tokener_parse_ex(
        tokener, $0.baseAddress?.assumingMemoryBound(to: CChar.self), Int32(text.count + 1))
    }
    defer { unsafe json_object_put(root) }
    let status = unsafe json_tokener_get_error(tokener)
    guard status == json_tokener_success else {
      throw unsafe ModelError(
        .malformed, "not valid JSON: \(String(cString: json_tokener_error_desc(status)))",
        file: file, offset: json_tokener_get_parse_end(tokener))
    }
    return unsafe value(root)
  }

  /// The text with an exponent after each wide integer.
  ///
  /// json-c cuts integers to 64 bits, but reads numbers with an exponent as floating-point ones.
  private static func marked(_ bytes: [UInt8], _ ends: [Int]) -> [UInt8] {
    var text: [UInt8] = []
    text.reserveCapacity(bytes.count + 2 * ends.count)
    var start = 0
    for end in ends {
      text += bytes[start..<end]
      text += "e0".utf8
      start = end
    }
    return text + bytes[start...]
  }

  // What these two take is a part of a document that `parse` holds; texts are copied at once.
  private static func value(_ object: OpaquePointer?) -> JSONValue {
    switch unsafe json_object_get_type(object) {
    case json_type_boolean: return unsafe .bool(json_object_get_boolean(object) != 0)
    case json_type_int: return unsafe .integer(json_object_get_int64(object))
    case json_type_double: return unsafe .number(json_object_get_double(object))
    case json_type_string:
      let count = unsafe Int(json_object_get_string_len(object))
      let start = unsafe UnsafeRawPointer(json_object_get_string(object))
      return unsafe .string(
        String(decoding: UnsafeRawBufferPointer(start: start, count: count), as: UTF8.self))
    case json_type_array:
      return unsafe .array(
        (0..<json_object_array_length(object)).map {
          unsafe value(json_object_array_get_idx(object, $0))
        })
    case json_type_object: return unsafe .object(members(object))
    default: return .null
    }
  }

  private static func members(_ object: OpaquePointer?) -> [JSONValue.Member] {
    var members: [JSONValue.Member] = []
    var iterator = unsafe json_object_iter_begin(object)
    var end = unsafe json_object_iter_end(object)
    while unsafe json_object_iter_equal(&iterator, &end) == 0 {
      unsafe members.append(
        .init(
          String(cString: json_object_iter_peek_name(&iterator)),
          value(json_object_iter_peek_value(&iterator))))
      unsafe json_object_iter_next(&iterator)
    }
    return members
  }
}
