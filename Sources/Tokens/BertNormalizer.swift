internal import Bytes
internal import Formats
@_spi(_Unicode) internal import Swift
internal import TensorModel

/// The normalizer of BERT: removes controls and accents, sets ideographs apart, makes lowercase.
struct BertNormalizer: Sendable {
  private let cleansText: Bool
  private let separatesIdeographs: Bool
  private let stripsAccents: Bool
  private let lowercases: Bool
  /// Whether only the first scalar of a decomposed one counts, as in llama.cpp.
  private let keepsFirst: Bool
  private let forms: ScalarForms
  /// What becomes of each scalar of alphabets if no marks precede it: one scalar, or none.
  private var results: [UInt16] = []

  private static let none: UInt16 = 0xFFFE
  private static let several: UInt16 = 0xFFFF
  private static let space: Unicode.Scalar = " "

  /// Reads the `normalizer` of a tokenizer.json, where accents usually follow the case.
  init(_ value: JSONValue) {
    cleansText = value["clean_text"]?.bool ?? true
    separatesIdeographs = value["handle_chinese_chars"]?.bool ?? true
    lowercases = value["lowercase"]?.bool ?? true
    stripsAccents = value["strip_accents"]?.bool ?? lowercases
    (forms, keepsFirst) = (.tokenizers, false)
    results = usualResults
  }

  /// Creates the normalizer of llama.cpp.
  init(lowercases: Bool, stripsAccents: Bool) {
    (cleansText, separatesIdeographs) = (true, true)
    (self.lowercases, self.stripsAccents) = (lowercases, stripsAccents)
    (forms, keepsFirst) = (.llama, true)
    results = usualResults
  }

  private var usualResults: [UInt16] {
    (0..<ScalarForms.tableCount).map { value in
      var output = Output()
      if let scalar = Unicode.Scalar(UInt32(value)) { append(scalar, to: &output) }
      guard output.marks.isEmpty, let first = output.text.first else {
        return output.marks.isEmpty ? Self.none : Self.several
      }
      let (result, length) = first < 0x80 ? (UInt32(first), 1) : output.text.scalar(at: 0)
      return length == output.text.count && result < Self.none ? UInt16(result) : Self.several
    }
  }

  /// The normalized form of valid UTF-8.
  func normalized(_ text: [UInt8]) -> [UInt8] {
    var output = Output()
    output.text.reserveCapacity(text.count + text.count / 4)
    var index = 0
    while index < text.count {
      let (value, length) = text.scalar(at: index)
      index += length
      if value < results.count, output.marks.isEmpty {
        let result = results[Int(value)]
        if result < Self.none {
          output.text.append(scalar: UInt32(result))
          continue
        }
        if result == Self.none { continue }
      }
      if let scalar = Unicode.Scalar(value) { append(scalar, to: &output) }
    }
    output.appendMarks()
    return output.text
  }

  /// Ideographs as BERT lists them; like Hugging Face's tokenizers, without U+2B820 to U+2B91F.
  private static func isIdeograph(_ value: UInt32) -> Bool {
    switch value {
    case 0x3400...0x4DBF, 0x4E00...0x9FFF, 0xF900...0xFAFF, 0x20000...0x2A6DF, 0x2A700...0x2B81F,
      0x2B920...0x2CEAF, 0x2F800...0x2FA1F:
      true
    default: false
    }
  }

  private func append(_ scalar: Unicode.Scalar, to output: inout Output) {
    var (scalar, form) = (scalar, forms[scalar.value])
    let decomposes = stripsAccents && form.contains(.decomposed)
    if keepsFirst, decomposes {
      scalar = scalar.firstDecomposed
      form = forms[scalar.value]
    }
    if cleansText {
      if form.contains(.control) { return }
      if form.contains(.space) { return output.append(Self.space) }
    }
    let isSeparate = separatesIdeographs && Self.isIdeograph(scalar.value)
    if isSeparate { output.append(Self.space) }
    if decomposes, !keepsFirst {
      scalar.forEachDecomposed { appendPart($0, forms[$0.value], to: &output) }
    } else {
      appendPart(scalar, form, to: &output)
    }
    if isSeparate { output.append(Self.space) }
  }

  /// Appends a scalar that is not decomposed further.
  private func appendPart(
    _ scalar: Unicode.Scalar, _ form: ScalarForm, to output: inout Output
  ) {
    if stripsAccents, !form.isDisjoint(with: .accentOrCombining) {
      if !form.contains(.combining) { output.appendMarks() }
      if !form.contains(.accent) { output.append(mark: scalar) }
    } else if lowercases, form.contains(.cased) {
      for new in scalar.properties.lowercaseMapping.unicodeScalars.prefix(keepsFirst ? 1 : .max) {
        output.append(new)
      }
    } else {
      output.append(scalar)
    }
  }

  /// The text so far, and marks after it that the normalization form D may still sort.
  private struct Output {
    var text: [UInt8] = []
    private(set) var marks: [Unicode.Scalar] = []

    @inline(__always)
    mutating func append(_ scalar: Unicode.Scalar) {
      if !marks.isEmpty { appendMarks() }
      text.append(scalar: scalar.value)
    }

    /// Adds a mark after those of the same class and of lower ones.
    mutating func append(mark: Unicode.Scalar) {
      let order = mark.properties.canonicalCombiningClass
      let place = marks.lastIndex { $0.properties.canonicalCombiningClass <= order }
      marks.insert(mark, at: place.map { $0 + 1 } ?? 0)
    }

    mutating func appendMarks() {
      for mark in marks { text.append(scalar: mark.value) }
      marks.removeAll(keepingCapacity: true)
    }
  }
}

extension Unicode.Scalar {
  /// Whether the normalization form D is another one.
  var isDecomposed: Bool { !String(self)._nfd.elementsEqual(CollectionOfOne(self)) }

  /// Whether the lowercase form is another one.
  var isCased: Bool { !properties.lowercaseMapping.unicodeScalars.elementsEqual([self]) }

  /// The first scalar of the normalization form D.
  fileprivate var firstDecomposed: Unicode.Scalar { String(self)._nfd.first { _ in true } ?? self }

  /// Calls `body` for each scalar of the normalization form D.
  fileprivate func forEachDecomposed(_ body: (Unicode.Scalar) -> Void) {
    // Korean syllables are composed of letters by arithmetic (The Unicode Standard, section 3.12).
    guard case 0xAC00...0xD7A3 = value else { return String(self)._nfd.forEach(body) }
    let place = value - 0xAC00
    if let first = Unicode.Scalar(0x1100 + place / 588) { body(first) }
    if let vowel = Unicode.Scalar(0x1161 + place / 28 % 21) { body(vowel) }
    if !place.isMultiple(of: 28), let last = Unicode.Scalar(0x11A7 + place % 28) { body(last) }
  }
}
