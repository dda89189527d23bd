/// What the normalizer of BERT does with a Unicode scalar.
struct ScalarForm: OptionSet {
  let rawValue: UInt8

  /// `clean_text` removes it.
  static let control = ScalarForm(rawValue: 1)
  /// `clean_text` makes a space of it.
  static let space = ScalarForm(rawValue: 2)
  /// `strip_accents` removes it.
  static let accent = ScalarForm(rawValue: 4)
  /// The normalization form D is another one.
  static let decomposed = ScalarForm(rawValue: 8)
  /// The normalization form D sorts it among its neighbors.
  static let combining = ScalarForm(rawValue: 16)
  /// The lowercase form is another one.
  static let cased = ScalarForm(rawValue: 32)

  /// What is sorted or removed: a constant, as the literal of a set takes time.
  static let accentOrCombining = ScalarForm(rawValue: accent.rawValue | combining.rawValue)

  init(rawValue: UInt8) { self.rawValue = rawValue }
}

// MARK: - Whose rules

/// The forms of all Unicode scalars, as a program knows them.
struct ScalarForms: Sendable {
  private let table: [UInt8]  // the forms of all scalars of alphabets
  private let compute: @Sendable (Unicode.Scalar) -> ScalarForm

  /// Those of Hugging Face's tokenizers.
  ///
  /// It has the categories of Unicode 8, the normalization of Unicode 9, and lowercase forms of today.
  static let tokenizers = ScalarForms(tokenizersForm)
  /// Those of llama.cpp, which has Unicode 15.1.
  static let llama = ScalarForms(llamaForm)

  /// The number of scalars in tables: those of alphabets, before the ideographs.
  static let tableCount = 0x3400

  private init(_ compute: @escaping @Sendable (Unicode.Scalar) -> ScalarForm) {
    self.compute = compute
    table = (0..<Self.tableCount).map { value in
      Unicode.Scalar(UInt32(value)).map { compute($0).rawValue } ?? 0
    }
  }

  /// The forms of a scalar value.
  @inline(__always)
  subscript(_ value: UInt32) -> ScalarForm {
    switch value {
    case 0..<UInt32(Self.tableCount): ScalarForm(rawValue: table[Int(value)])
    case 0x3400...0x9FFF: ScalarForm(rawValue: 0)  // ideographs
    case 0xAC00...0xD7A3: .decomposed  // Korean syllables
    default: Unicode.Scalar(value).map(compute) ?? ScalarForm(rawValue: 0)
    }
  }

  private static let replacement: Unicode.Scalar = "\u{FFFD}"
  private static let categoryVersion = 8
  private static let normalizationVersion = 9
  /// Combining marks without a width that were something else in Unicode 8.
  private static let laterAccents: [UInt32] = [0x1885, 0x1886, 0xA9BD, 0x111C9]
  /// Those that are something else now.
  private static let formerAccents: [UInt32] = [0x1734, 0x1171E]

  private static func tokenizersForm(_ scalar: Unicode.Scalar) -> ScalarForm {
    let properties = scalar.properties
    let (age, value) = (properties.age?.major ?? .max, scalar.value)
    var form: ScalarForm = []
    switch properties.generalCategory {
    case .control where !["\t", "\n", "\r"].contains(scalar): form.insert(.control)
    case .format where age <= categoryVersion: form.insert(.control)
    case .privateUse: form.insert(.control)
    case .nonspacingMark where age <= categoryVersion && !laterAccents.contains(value):
      form.insert(.accent)
    case _ where formerAccents.contains(value): form.insert(.accent)
    default: break
    }
    if value == 0 || scalar == replacement { form.insert(.control) }
    if properties.isWhitespace, !form.contains(.control) { form.insert(.space) }
    if age <= normalizationVersion {
      if scalar.isDecomposed { form.insert(.decomposed) }
      if properties.canonicalCombiningClass != .notReordered { form.insert(.combining) }
    }
    if scalar.isCased { form.insert(.cased) }
    return form
  }

  private static let llamaVersion = 15

  private static func llamaForm(_ scalar: Unicode.Scalar) -> ScalarForm {
    let properties = scalar.properties
    guard let age = properties.age, age.major <= llamaVersion else { return [] }
    var form: ScalarForm = []
    switch properties.generalCategory {
    case .control, .format, .privateUse: form.insert(.control)
    case .nonspacingMark, .spacingMark, .enclosingMark: form.insert(.accent)
    default: break
    }
    if scalar == replacement { form.insert(.control) }
    if properties.isWhitespace { form = .space }
    if scalar.isDecomposed { form.insert(.decomposed) }
    if scalar.isCased { form.insert(.cased) }
    return form
  }
}
