internal import CJSONC
package import TensorModel

/// Reads whole JSON documents (configurations, indexes, recipes) with json-c.
package enum JSONParser {
  /// Parses the JSON document in `bytes`.
  ///
  /// `JSONScanner` checks the text first. json-c alone would accept single quotes, would keep only
  /// the last of repeated keys, and would limit integers to 64 bits.
  ///
  /// - Parameters:
  ///   - bytes: The text.
  ///   - file: The name of the file, for messages.
  ///   - limits: The limits of the text.
  ///   - allowingNonFinite: Whether `NaN`, `Infinity` and `-Infinity` are numbers, as in the files
  ///     that Python writes.
  /// - Returns: The document.
  /// - Throws: `malformed` with the offset of the mistake, and `limit`.
  package static func parse(
    _ bytes: [UInt8], file: String, limits: ReadLimits = ReadLimits(),
    allowingNonFinite: Bool = false
  ) throws(ModelError) -> JSONValue {
    var scanner = try JSONScanner(
      bytes, file: file, offset: 0, limits: limits, allowingNonFinite: allowingNonFinite)
    try scanner.skip()
    try scanner.end()
    guard bytes.count < Int(Int32.max) else {
      throw ModelError(.limit, "the JSON text is too large", file: file)
    }
    // Safety: json-c owns the tokener and the document. Both are freed when this function ends, and
    // nothing that points into them is returned.
    guard let tokener = unsafe json_tokener_new_ex(Int32(limits.nesting)) else {
      throw ModelError(.limit, "out of memory for JSON", file: file)
    }
    defer { unsafe json_tokener_free(tokener) }
    // The terminating zero tells json-c that a number at the very end is complete.
    let root = unsafe (bytes + [0]).withUnsafeBytes {
      unsafe json_tokener_parse_ex(
        tokener, $0.baseAddress?.assumingMemoryBound(to: CChar.self), Int32(bytes.count + 1))
    }
    defer { unsafe json_object_put(root) }
    let status = unsafe json_tokener_get_error(tokener)
    guard status == json_tokener_success else {
      throw unsafe ModelError(
        .malformed, "not valid JSON: \(String(cString: json_tokener_error_desc(status)))",
        file: file, offset: json_tokener_get_parse_end(tokener))
    }
    var values = Values(wideIntegers: scanner.wideIntegers)
    return unsafe values.value(root)
  }
}

/// Values of a document, in the order of its text.
private struct Values {
  /// The integers that json-c limits to 64 bits, by their index among all numbers.
  let wideIntegers: [Int: Double]
  private var numberCount = 0

  init(wideIntegers: [Int: Double]) { self.wideIntegers = wideIntegers }

  // Safety: both functions get an object of the document that `parse` holds, and copy its strings.
  mutating func value(_ object: OpaquePointer?) -> JSONValue {
    switch unsafe json_object_get_type(object) {
    case json_type_boolean: return unsafe .bool(json_object_get_boolean(object) != 0)
    case json_type_int:
      numberCount += 1
      if let wide = wideIntegers[numberCount - 1] { return .number(wide) }
      return unsafe .integer(json_object_get_int64(object))
    case json_type_double:
      numberCount += 1
      return unsafe .number(json_object_get_double(object))
    case json_type_string:
      let count = unsafe Int(json_object_get_string_len(object))
      let start = unsafe UnsafeRawPointer(json_object_get_string(object))
      return unsafe .string(
        String(decoding: UnsafeRawBufferPointer(start: start, count: count), as: UTF8.self))
    case json_type_array:
      var elements: [JSONValue] = []
      for index in unsafe 0..<json_object_array_length(object) {
        unsafe elements.append(value(json_object_array_get_idx(object, index)))
      }
      return .array(elements)
    case json_type_object: return unsafe .object(members(object))
    default: return .null
    }
  }

  private mutating func members(_ object: OpaquePointer?) -> [JSONValue.Member] {
    var members: [JSONValue.Member] = []
    var iterator = unsafe json_object_iter_begin(object)
    var end = unsafe json_object_iter_end(object)
    while unsafe json_object_iter_equal(&iterator, &end) == 0 {
      let name = unsafe String(cString: json_object_iter_peek_name(&iterator))
      let value = unsafe value(json_object_iter_peek_value(&iterator))
      members.append(.init(name, value))
      unsafe json_object_iter_next(&iterator)
    }
    return members
  }
}
