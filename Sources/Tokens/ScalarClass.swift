/// The classes of a Unicode scalar that patterns of pre-tokenizers name.
struct ScalarClass: OptionSet {
  let rawValue: UInt16

  /// `\p{L}`.
  static let letter = ScalarClass(rawValue: 1)
  /// `\p{N}`.
  static let number = ScalarClass(rawValue: 2)
  /// `\p{M}`.
  static let mark = ScalarClass(rawValue: 4)
  /// `\s`.
  static let space = ScalarClass(rawValue: 8)
  /// `[\r\n]`.
  static let newline = ScalarClass(rawValue: 16)
  /// `[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]`: what may begin a word of GPT-4o.
  static let upper = ScalarClass(rawValue: 32)
  /// `[\p{Ll}\p{Lm}\p{Lo}\p{M}]`: what may end one.
  static let lower = ScalarClass(rawValue: 64)
  /// `\p{P}`.
  static let punctuation = ScalarClass(rawValue: 128)
  /// `\p{S}`.
  static let symbol = ScalarClass(rawValue: 256)

  /// What the step `Punctuation` of Hugging Face's tokenizers splits: ASCII, and Unicode 8.
  static let splitPunctuation = ScalarClass(rawValue: 512)

  /// What llama.cpp splits before WordPiece: ASCII, and Unicode 15.
  static let llamaPunctuation = ScalarClass(rawValue: 2048)
  private static let llamaVersion = 15

  /// Scalars that the normalization of Hugging Face's tokenizers does not know, as it has Unicode 9.
  static let unnormalized = ScalarClass(rawValue: 1024)
  private static let normalizerVersion = 9

  /// The version of Unicode whose classes Hugging Face's tokenizers has.
  ///
  /// Scalars that later versions assigned have no class.
  static let version = 16

  /// Computes the classes of a scalar.
  init(of scalar: Unicode.Scalar) {
    let properties = scalar.properties
    guard let age = properties.age, age.major <= Self.version else {
      self = .unnormalized
      return
    }
    var classes: ScalarClass = []
    switch properties.generalCategory {
    case .uppercaseLetter, .titlecaseLetter: classes = [.letter, .upper]
    case .lowercaseLetter: classes = [.letter, .lower]
    case .modifierLetter, .otherLetter: classes = [.letter, .upper, .lower]
    case .nonspacingMark, .spacingMark, .enclosingMark: classes = [.mark, .upper, .lower]
    case .decimalNumber, .letterNumber, .otherNumber: classes = .number
    case .connectorPunctuation, .dashPunctuation, .openPunctuation, .closePunctuation,
      .initialPunctuation, .finalPunctuation, .otherPunctuation:
      classes = .punctuation
    case .mathSymbol, .currencySymbol, .modifierSymbol, .otherSymbol: classes = .symbol
    default: break
    }
    if Self.isSplit(scalar, age.major, classes) { classes.insert(.splitPunctuation) }
    if scalar.isASCII && classes.contains(.symbol)
      || age.major <= Self.llamaVersion && classes.contains(.punctuation)
    {
      classes.insert(.llamaPunctuation)
    }
    if age.major > Self.normalizerVersion { classes.insert(.unnormalized) }
    if properties.isWhitespace { classes.insert(.space) }
    if scalar == "\r" || scalar == "\n" { classes.insert(.newline) }
    self = classes
  }

  private static func isSplit(
    _ scalar: Unicode.Scalar, _ age: Int, _ classes: ScalarClass
  ) -> Bool {
    switch scalar.value {
    case 0x21...0x2F, 0x3A...0x40, 0x5B...0x60, 0x7B...0x7E: true
    // These two were punctuation then.
    case 0x166D, 0x111C9: true
    default: age <= 8 && classes.contains(.punctuation)
    }
  }

  init(rawValue: UInt16) { self.rawValue = rawValue }
}

/// The classes of all scalars below U+20000, as a table; those of others are computed.
struct ScalarClasses: Sendable {
  private let table: [UInt16]

  /// The table, which is made at the first use.
  static let shared = ScalarClasses()

  private init() {
    table = (0..<0x20000).map { value in
      Unicode.Scalar(UInt32(value)).map { ScalarClass(of: $0).rawValue } ?? 0
    }
  }

  /// The classes of a scalar value.
  @inline(__always)
  subscript(_ value: UInt32) -> ScalarClass {
    if value < 0x20000 { return ScalarClass(rawValue: table[Int(value)]) }
    return Unicode.Scalar(value).map(ScalarClass.init(of:)) ?? .unnormalized
  }
}

extension [UInt8] {
  /// The scalar that begins at an index of valid UTF-8, and its length in bytes.
  @inline(__always)
  func scalar(at index: Int) -> (value: UInt32, length: Int) {
    let first = UInt32(self[index])
    if first < 0x80 { return (first, 1) }
    let second = UInt32(self[index + 1]) & 0x3F
    if first < 0xE0 { return ((first & 0x1F) << 6 | second, 2) }
    let third = UInt32(self[index + 2]) & 0x3F
    if first < 0xF0 { return ((first & 0x0F) << 12 | second << 6 | third, 3) }
    return ((first & 0x07) << 18 | second << 12 | third << 6 | UInt32(self[index + 3]) & 0x3F, 4)
  }

  /// Appends the UTF-8 of a scalar value.
  @inline(__always)
  mutating func append(scalar value: UInt32) {
    func append(_ bits: UInt32) { self.append(UInt8(truncatingIfNeeded: bits)) }
    if value < 0x80 { return append(value) }
    if value < 0x800 {
      append(0xC0 | value >> 6)
    } else {
      if value < 0x10000 {
        append(0xE0 | value >> 12)
      } else {
        append(0xF0 | value >> 18)
        append(0x80 | value >> 12 & 0x3F)
      }
      append(0x80 | value >> 6 & 0x3F)
    }
    append(0x80 | value & 0x3F)
  }
}
