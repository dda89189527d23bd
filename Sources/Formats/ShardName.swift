/// The file names of a sharded model, as Hugging Face and llama.cpp write them.
enum ShardName {
  /// The name of file `number` (from 0) of `count`, such as `model-00001-of-00003.gguf`.
  static func name(_ prefix: String, _ number: Int, of count: Int, suffix: String) -> String {
    prefix + ending(number, of: count, suffix: suffix)
  }

  /// The end of the name, after the prefix.
  static func ending(_ number: Int, of count: Int, suffix: String) -> String {
    "-\(padded(number + 1))-of-\(padded(count)).\(suffix)"
  }

  /// The number of shards that a file name states; nil if it states none.
  static func count(in name: String) -> Int? {
    let words = name.split(separator: ".").first?.split(separator: "-") ?? []
    guard words.count > 3, words[words.count - 2] == "of", Int(words[words.count - 3]) != nil else {
      return nil
    }
    return Int(words[words.count - 1])
  }

  private static func padded(_ number: Int) -> String {
    let digits = String(number)
    return String(repeating: "0", count: max(0, 5 - digits.count)) + digits
  }
}
