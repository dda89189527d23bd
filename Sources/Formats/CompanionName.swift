/// The rules for the names of companion files.
///
/// A companion is a file in the folder of the model, or in one of a few sub-folders. Then its name is
/// that of the sub-folder, a slash and the name of the file, as in `1_Pooling/config.json`.
enum CompanionName {
  /// The sub-folder of the chat templates with names.
  static let templateFolder = "additional_chat_templates"

  private static let slash = UInt8(ascii: "/")

  /// The sub-folder in a name; nil for a file in the folder of the model.
  static func folder(of name: String) -> String? {
    // Bytes, not characters, are separated: a slash may be a part of a character.
    name.utf8.firstIndex(of: slash).map { String(name[..<$0]) }
  }

  /// Whether a companion may have a name.
  ///
  /// Companions of a pleat file, which may come from a stranger, become files. So a name must not
  /// lead out of the folder of the model, and must not make a folder that Git or Python would use.
  static func isUsable(_ name: String) -> Bool {
    guard let index = name.utf8.firstIndex(of: slash) else { return isFileName(name) }
    let file = name[name.utf8.index(after: index)...]
    return isFolderName(String(name[..<index])) && isFileName(String(file))
  }

  /// Whether companions may be in a sub-folder with a name.
  ///
  /// The folders of sentence-transformers begin with the number of their module.
  static func isFolderName(_ name: String) -> Bool {
    isFileName(name)
      && (name == templateFolder || name.utf8.first.map { (0x30...0x39).contains($0) } ?? false)
  }

  private static func isFileName(_ name: String) -> Bool {
    !name.isEmpty && name != "." && name != ".." && !name.utf8.contains { $0 == 0 || $0 == slash }
  }
}
