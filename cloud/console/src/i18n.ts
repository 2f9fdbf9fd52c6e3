import i18next from "i18next";
import { initReactI18next } from "react-i18next";
import en from "./locales/en.json";
import zh from "./locales/zh.json";

const KEPT_AS = "fieldloom-language";

export const LANGUAGES = [
  { id: "en", name: "English" },
  { id: "zh", name: "中文" },
] as const;

declare module "i18next" {
  interface CustomTypeOptions {
    resources: { translation: typeof en };
  }
}

function firstLanguage(): string {
  const wanted = localStorage.getItem(KEPT_AS) ?? navigator.language;
  return wanted.startsWith("zh") ? "zh" : "en";
}

i18next.on("languageChanged", (language) => {
  document.documentElement.lang = language === "zh" ? "zh-CN" : "en";
});

void i18next.use(initReactI18next).init({
  lng: firstLanguage(),
  fallbackLng: "en",
  resources: { en: { translation: en }, zh: { translation: zh } },
  interpolation: { escapeValue: false }, // React escapes
});

export function chooseLanguage(language: string): void {
  localStorage.setItem(KEPT_AS, language);
  void i18next.changeLanguage(language);
}
