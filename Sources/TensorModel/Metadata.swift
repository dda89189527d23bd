/// Named values of a model file, in file order.
public struct Metadata: Sendable, Hashable {
  /// One named value.
  public struct Entry: Sendable, Hashable {
    /// The key as it is in the file.
    public var key: String
    /// The value with its stored type.
    public var value: MetadataValue

    /// An entry.
    public init(key: String, value: MetadataValue) {
      self.key = key
      self.value = value
    }
  }

  /// The entries; keys do not repeat.
  public private(set) var entries: [Entry] = []

  /// No entries.
  public init() {}

  /// The value of a key: nil when absent.
  ///
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

  /// Adds an entry whose key is known to be new.
  public mutating func append(_ key: String, _ value: MetadataValue) {
    entries.append(Entry(key: key, value: value))
  }
}

/// The type of a metadata value, with GGUF's numbers for them.
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

  /// Bytes of a value: nil for strings and arrays.
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
  /// UTF-8 by convention; kept as bytes so that a rewrite is exact.
  case string([UInt8])
  /// `count` elements of a type that is not an array.
  case array(MetadataArray)

  /// A text value.
  public static func text(_ text: String) -> MetadataValue { .string(Array(text.utf8)) }

  /// A 32-bit count or identifier.
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

  /// The text of a string value; ill-formed UTF-8 is repaired.
  public var text: String? {
    if case .string(let bytes) = self { String(decoding: bytes, as: UTF8.self) } else { nil }
  }

  /// The value of an integer that fits an `Int`.
  public var integer: Int? {
    switch self {
    case .unsigned(let value, _): Int(exactly: value)
    case .signed(let value, _): Int(exactly: value)
    default: nil
    }
  }
}

/// The elements of a metadata array, in their stored bytes.
public struct MetadataArray: Sendable, Hashable {
  /// The type of each element; never `array`.
  public var elementType: MetadataType
  /// The number of elements.
  public var count: Int
  /// Little-endian values one after another; a string is a 64-bit byte count and its bytes.
  public var bytes: [UInt8]

  /// An array whose `bytes` are known to hold `count` elements.
  public init(elementType: MetadataType, count: Int, bytes: [UInt8]) {
    self.elementType = elementType
    self.count = count
    self.bytes = bytes
  }
}
