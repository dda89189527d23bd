/// The metadata entries of a model file, in file order.
public struct Metadata: Sendable, Hashable {
  /// A key and its value.
  public struct Entry: Sendable, Hashable {
    /// The key as stored in the file.
    public var key: String
    /// The value with its stored type.
    public var value: MetadataValue

    /// Creates an entry.
    public init(key: String, value: MetadataValue) {
      self.key = key
      self.value = value
    }
  }

  /// The entries; no two have the same key.
  public private(set) var entries: [Entry] = []

  /// Creates metadata without entries.
  public init() {}

  /// The value of a key, or nil if there is no such key.
  ///
  /// Keys are compared by their bytes. Setting a new key appends an entry; setting nil removes it.
  /// Takes time proportional to the number of entries.
  public subscript(key: String) -> MetadataValue? {
    get { index(of: key).map { entries[$0].value } }
    set {
      let index = index(of: key)
      switch (index, newValue) {
      case (let index?, let value?): entries[index].value = value
      case (let index?, nil): entries.remove(at: index)
      case (nil, let value?): entries.append(Entry(key: key, value: value))
      case (nil, nil): break
      }
    }
  }

  private func index(of key: String) -> Int? {
    entries.firstIndex { $0.key.hasSameBytes(as: key) }
  }

  /// Appends an entry; the caller guarantees that the key is new.
  public mutating func append(_ key: String, _ value: MetadataValue) {
    entries.append(Entry(key: key, value: value))
  }
}

/// The type of a metadata value; the raw values are GGUF's type numbers.
public enum MetadataType: UInt32, Sendable, Hashable, CaseIterable {
  case u8 = 0
  case i8 = 1
  case u16 = 2
  case i16 = 3
  case u32 = 4
  case i32 = 5
  case f32 = 6
  case bool = 7
  case string = 8
  case array = 9
  case u64 = 10
  case i64 = 11
  case f64 = 12

  /// The length of a value in bytes; nil for strings and arrays.
  public var byteCount: Int? {
    switch self {
    case .u8, .i8, .bool: 1
    case .u16, .i16: 2
    case .u32, .i32, .f32: 4
    case .u64, .i64, .f64: 8
    case .string, .array: nil
    }
  }
}

/// A metadata value with its stored type.
public enum MetadataValue: Sendable, Hashable {
  case unsigned(UInt64, MetadataType)
  case signed(Int64, MetadataType)
  case float(Float)
  case double(Double)
  case bool(Bool)
  /// A string, UTF-8 by convention, kept as bytes so that a rewrite is exact.
  case string([UInt8])
  /// An array whose elements are not arrays themselves.
  case array(MetadataArray)

  /// Creates a string value.
  public static func text(_ text: String) -> MetadataValue { .string(Array(text.utf8)) }

  /// Creates a 32-bit unsigned value.
  public static func u32(_ value: UInt32) -> MetadataValue { .unsigned(UInt64(value), .u32) }

  /// The stored type.
  public var type: MetadataType {
    switch self {
    case .unsigned(_, let type), .signed(_, let type): type
    case .float: .f32
    case .double: .f64
    case .bool: .bool
    case .string: .string
    case .array: .array
    }
  }

  /// The text of a string value, with ill-formed UTF-8 repaired; nil for other values.
  public var text: String? {
    if case .string(let bytes) = self { String(decoding: bytes, as: UTF8.self) } else { nil }
  }

  /// The value of an integer; nil if it does not fit an `Int`, and for other values.
  public var integer: Int? {
    switch self {
    case .unsigned(let value, _): Int(exactly: value)
    case .signed(let value, _): Int(exactly: value)
    default: nil
    }
  }
}

/// A metadata array; its elements are kept in their stored bytes.
public struct MetadataArray: Sendable, Hashable {
  /// The type of each element; never `array`.
  public var elementType: MetadataType
  /// The number of elements.
  public var count: Int
  /// The elements, little-endian and one after another.
  ///
  /// A string is a 64-bit byte count followed by its bytes.
  public var bytes: [UInt8]

  /// Creates an array; the caller guarantees that `bytes` holds `count` elements.
  public init(elementType: MetadataType, count: Int, bytes: [UInt8]) {
    self.elementType = elementType
    self.count = count
    self.bytes = bytes
  }
}
